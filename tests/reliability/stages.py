"""A network as a chain of stages, for oracles that hand relevance or guided signals back by dense matrices."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Run: TypeAlias = Callable[[Callable[[Any], Any], np.ndarray], np.ndarray]
"""Applies a function of native tensors to an array in float64."""


@dataclass(frozen=True)
class Rule:
    """How relevance is shared at convolutions ("epsilon_plus": by positive parts) and elsewhere (epsilon)."""

    name: str
    epsilon: float


@dataclass(frozen=True)
class Affine:
    """A linear map with a bias; `kind` is convolution, linear or average."""

    kind: str
    function: Callable[[Any], Any]


@dataclass(frozen=True)
class Rectifier:
    """A ReLU."""


@dataclass(frozen=True)
class Pass:
    """Another activation: relevance goes through unchanged."""

    function: Callable[[Any], Any]


@dataclass(frozen=True)
class Largest:
    """A max pool of square windows that do not overlap."""

    size: int


@dataclass(frozen=True)
class Sum:
    """A tensor and what further stages make of it, added."""

    inner: tuple["Stage", ...]


@dataclass(frozen=True)
class Joined:
    """A tensor and what further stages make of it, side by side."""

    inner: tuple["Stage", ...]


Stage: TypeAlias = Affine | Rectifier | Pass | Largest | Sum | Joined


def forward(stages: tuple[Stage, ...], values: np.ndarray, run: Run) -> np.ndarray:
    """Run stages on one image, (1, C, *space)."""
    for stage in stages:
        values = _output(stage, values, run)
    return values


def relevance(stages: tuple[Stage, ...], values: np.ndarray, arriving: np.ndarray, rule: Rule, run: Run) -> np.ndarray:
    """Relevance of one image, from the relevance of the stages' output."""
    inputs = [values]
    for stage in stages:
        inputs.append(_output(stage, inputs[-1], run))
    for stage, a, z in zip(reversed(stages), reversed(inputs[:-1]), reversed(inputs), strict=False):
        arriving = _share(stage, a, z, arriving, rule, run)
    return arriving


def guided(stages: tuple[Stage, ...], values: np.ndarray, arriving: np.ndarray, run: Run) -> np.ndarray:
    """Guided backpropagation (Springenberg 2015) of one image through affine stages and ReLUs."""
    inputs = [values]
    for stage in stages:
        inputs.append(_output(stage, inputs[-1], run))
    for stage, a in zip(reversed(stages), reversed(inputs[:-1]), strict=True):
        if isinstance(stage, Affine):
            matrix, _ = dense(stage.function, a.shape, run)
            arriving = (arriving.reshape(-1) @ matrix).reshape(a.shape)
        elif isinstance(stage, Rectifier):
            arriving = np.maximum(arriving, 0) * (a > 0)
        else:
            raise TypeError(f"no guided signal is defined for {type(stage).__name__}")
    return arriving


def dense(function: Callable[[Any], Any], shape: tuple[int, ...], run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Matrix (outputs, inputs) of an affine map, column by column, and its bias."""
    size = int(np.prod(shape))
    probes = np.concatenate([np.zeros((1, size)), np.eye(size)]).reshape(size + 1, *shape[1:])
    answers = run(function, probes).reshape(size + 1, -1)
    return (answers[1:] - answers[0]).T, answers[0]


def _output(stage: Stage, values: np.ndarray, run: Run) -> np.ndarray:
    match stage:
        case Affine(function=function) | Pass(function=function):
            return run(function, values)
        case Rectifier():
            return np.maximum(values, 0)
        case Largest(size=size):
            return _windows(values, size).max(axis=-1)
        case Sum(inner=inner):
            return values + forward(inner, values, run)
        case Joined(inner=inner):
            return np.concatenate([values, forward(inner, values, run)], axis=1)


def _share(stage: Stage, a: np.ndarray, z: np.ndarray, arriving: np.ndarray, rule: Rule, run: Run) -> np.ndarray:
    match stage:
        case Rectifier() | Pass():
            return arriving
        case Affine(kind=kind, function=function):
            matrix, bias = dense(function, a.shape, run)
            shares = _by_positive_parts if kind == "convolution" and rule.name == "epsilon_plus" else _by_parts
            return shares(matrix, bias, a.reshape(-1), arriving.reshape(-1), rule.epsilon).reshape(a.shape)
        case Largest(size=size):
            return _to_winners(a, arriving, size)
        case Sum(inner=inner):
            ratio = arriving / _stabilised(z, rule.epsilon)
            return a * ratio + relevance(inner, a, (z - a) * ratio, rule, run)
        case Joined(inner=inner):
            channels = a.shape[1]
            return arriving[:, :channels] + relevance(inner, a, arriving[:, channels:], rule, run)


def _by_parts(matrix: np.ndarray, bias: np.ndarray, a: np.ndarray, arriving: np.ndarray, epsilon: float) -> np.ndarray:
    ratio = arriving / _stabilised(matrix @ a + bias, epsilon)
    return a * (ratio @ matrix)


def _by_positive_parts(
    matrix: np.ndarray, bias: np.ndarray, a: np.ndarray, arriving: np.ndarray, epsilon: float
) -> np.ndarray:
    contributions = np.maximum(matrix * a, 0)  # (outputs, inputs): z+ for inputs of either sign
    ratio = arriving / (contributions.sum(axis=1) + np.maximum(bias, 0) + epsilon)
    return ratio @ contributions


def _stabilised(z: np.ndarray, epsilon: float) -> np.ndarray:
    return z + np.where(z >= 0, epsilon, -epsilon)


def _windows(values: np.ndarray, size: int) -> np.ndarray:
    n, c, h, w = values.shape
    cut = values[:, :, : h // size * size, : w // size * size]
    cells = cut.reshape(n, c, h // size, size, w // size, size).transpose(0, 1, 2, 4, 3, 5)
    return cells.reshape(n, c, h // size, w // size, size * size)


def _to_winners(a: np.ndarray, arriving: np.ndarray, size: int) -> np.ndarray:
    found = np.zeros_like(a)
    winners = _windows(a, size).argmax(axis=-1)
    for n, c, row, column in np.ndindex(*winners.shape):
        down, right = divmod(int(winners[n, c, row, column]), size)
        found[n, c, row * size + down, column * size + right] = arriving[n, c, row, column]
    return found
