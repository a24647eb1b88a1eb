"""A blueprint's forward pass as sums over the offsets of its kernels: NumPy only, quick enough for whole volumes."""

import itertools
from collections.abc import Iterator

import numpy as np

from xai_med.blueprints import INPUT, Blueprint
from xai_med.blueprints.blueprint import Step
from xai_med.blueprints.validation import options_of


def forward(blueprint: Blueprint, images: np.ndarray) -> dict[str, np.ndarray]:
    """Output of every step in float64; only the operations of plain pooled classifiers."""
    values = {INPUT: images.astype(np.float64)}
    for step in blueprint.steps:
        values[step.name] = _OPERATIONS[step.operation](step, values[step.inputs[0]])
    return values


def _windows(
    images: np.ndarray, step: Step, kernel: tuple[int, ...], fill: float
) -> Iterator[tuple[tuple, np.ndarray]]:
    """Each offset of the kernel, and what it sees in every position (N, C, *positions)."""
    options = options_of(step)
    stride, padding = options["stride"], options["padding"]
    padded = np.pad(images, [(0, 0), (0, 0)] + [(padding, padding)] * (images.ndim - 2), constant_values=fill)
    counts = [(size - width) // stride + 1 for size, width in zip(padded.shape[2:], kernel, strict=True)]
    for offset in itertools.product(*map(range, kernel)):
        places = [slice(o, o + stride * (count - 1) + 1, stride) for o, count in zip(offset, counts, strict=True)]
        yield offset, padded[(slice(None), slice(None), *places)]


def _column(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    return values.reshape(-1, *[1] * (like.ndim - 2))


def _convolution(step: Step, images: np.ndarray) -> np.ndarray:
    weight = step.arrays["weight"]
    seen = _windows(images, step, weight.shape[2:], 0.0)
    total = sum(np.einsum("nc...,oc->no...", window, weight[(..., *offset)]) for offset, window in seen)
    return total + _column(step.arrays["bias"], total) if "bias" in step.arrays else total


def _batch_norm(step: Step, images: np.ndarray) -> np.ndarray:
    gamma, beta, mean, variance = (
        _column(step.arrays[name], images) for name in ("weight", "bias", "running_mean", "running_var")
    )
    return (images - mean) / np.sqrt(variance + options_of(step)["epsilon"]) * gamma + beta


def _max_pool(step: Step, images: np.ndarray) -> np.ndarray:
    kernel = (options_of(step)["kernel"],) * (images.ndim - 2)
    return np.maximum.reduce([window for _, window in _windows(images, step, kernel, -np.inf)])


def _average_pool(step: Step, images: np.ndarray) -> np.ndarray:
    kernel = (options_of(step)["kernel"],) * (images.ndim - 2)
    return sum(window for _, window in _windows(images, step, kernel, 0.0)) / np.prod(kernel)


_OPERATIONS = {
    "convolution": _convolution,
    "batch_norm": _batch_norm,
    "relu": lambda _, images: np.maximum(images, 0),
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "global_average_pool": lambda _, images: images.mean(axis=tuple(range(2, images.ndim))),
    "flatten": lambda _, features: features.reshape(len(features), -1),
    "linear": lambda step, features: features @ step.arrays["weight"].T + step.arrays.get("bias", 0.0),
}
