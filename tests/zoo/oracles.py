"""What must hold of each method's answer about any model, checked without our code and without derivatives.

Everything is float64. A score's derivative along a direction is a central difference of two forward passes of the
framework, with the direction added to the input, or by a forward hook to a layer's output.

The kink of a ReLU inside a step spoils the difference, whatever the method; random networks are full of them. So
several steps are tried, forwards, backwards and central, and the closest counts: a wrong derivative agrees with none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.entry import Head
from zoo.layout import Layout, layout_of
from zoo.reference import Question

STEPS = (1e-6, 1e-7, 1e-8, 1e-5, 1e-9, 1e-4, 1e-10)
"""Of finite differences, relative to the size of what is changed."""
DIFFERENCES = 1e-5
"""How close finite differences come, relative to the norm of what they are compared with (RELIABILITY.md)."""
EXACT = 1e-10
"""How close float64 comes to an identity between sums over a thousand channels."""


@dataclass(frozen=True)
class Verdict:
    """What an oracle says.

    Parameters
    ----------
    residual : float
        Relative deviation, the largest of all that was compared.
    tolerance : float
        What it may be.
    note : str
        What is not as expected, or what could not be checked.
    is_checked : bool
        Whether the oracle applies at all.
    """

    residual: float
    tolerance: float
    note: str = ""
    is_checked: bool = True

    @property
    def holds(self) -> bool:
        """Whether the answer is right as far as the oracle sees; NaN is not."""
        return self.is_checked and bool(self.residual <= self.tolerance)


def unchecked(why: str) -> Verdict:
    """A verdict where no oracle applies."""
    return Verdict(np.nan, 0.0, why, is_checked=False)


# ---- class activation maps


def cam(question: Question, found: Any) -> Verdict:
    """The map is W F, with F from a hook at the layer that the architecture's source names, and adds up to the logit.

    The logit is the framework's own; so a head that is more than a pool and a linear layer shows.
    """
    head = question.architecture.head
    if head is None or head.linear is None:
        return unchecked("the catalogue names no linear head behind a global pool")
    expected = class_maps(question, head, question.images)
    if found.attribution.shape != expected.shape:
        return Verdict(np.inf, EXACT, f"map of shape {found.attribution.shape}, features of {expected.shape}")
    bias = question.runner.parameter(f"{head.linear}.bias")
    added = 0.0 if bias is None else bias[list(question.classes)]
    flat = found.attribution.reshape(*expected.shape[:2], -1)
    residuals = (
        np.abs(found.attribution - expected).max() / np.abs(expected).max(),
        np.abs(flat.mean(axis=2) + added - question.scores).max() / np.abs(question.scores).max(),
    )
    return Verdict(float(max(residuals)), EXACT)


def class_maps(question: Question, head: Head, images: np.ndarray) -> np.ndarray:
    """Features that enter the pool, weighed by the head's own weights, (N, K, *cells)."""
    features = _layout(question, head).read(question.output_of(head.features, images))
    if head.is_rectified:
        features = np.maximum(features, 0)
    weight = question.runner.parameter(f"{head.linear}.weight")
    if weight is None:
        raise LookupError(f"{head.linear} has no weight")
    weight = weight.reshape(len(weight), -1)[list(question.classes)]
    maps: np.ndarray = np.einsum("kc,nc...->nk...", weight, features)
    return maps


# ---- Grad-CAM


def grad_cam(question: Question, found: Any) -> Verdict:
    """Sums of the signed map against test fields are derivatives of the score.

    With A the layer's output and w_c the mean over cells of dS/dA_c, the map is M(p) = sum_c w_c A_c(p). For a field
    r over cells, <r, M> is the derivative of S when every cell of channel c moves by <r, A_c> / cells. Random fields
    and the field of the strongest cell find a wrong layer, swapped axes, a wrong class and wrong weights.
    """
    cells = found.attribution.shape[2:]
    place = _place(question, found, cells)
    if isinstance(place, str):
        return unchecked(place)
    layer, layout, is_rectified = place
    output = question.output_of(layer)
    features = layout.read(np.maximum(output, 0) if is_rectified else output)
    if features.shape[2:] != cells:
        return Verdict(np.inf, DIFFERENCES, f"map of {cells} cells at {found.layer}, features of {features.shape[2:]}")
    residual = 0.0
    for field, size in _fields(found.attribution, seed=3):
        moved = _against(field, features) / field.size
        direction = np.broadcast_to(moved.reshape(*moved.shape, *(1,) * len(cells)), features.shape)
        expected = _against(field, found.attribution)
        change = _changes(layout, direction, is_rectified=is_rectified)
        score = _scores_along(question, layer, change)
        scale = np.abs(features).max() / max(np.abs(direction).max(), np.finfo(float).tiny)
        residual = max(residual, _closest(score, expected, size, scale))
        if residual > DIFFERENCES:
            break
    return Verdict(residual, DIFFERENCES)


def _place(question: Question, found: Any, cells: tuple[int, ...]) -> tuple[str, Layout, bool] | str:
    """Where the map must arise: named by hand, else what the result names, which is then looked up in the model."""
    head = question.architecture.head
    if head is not None:
        return head.features, _layout(question, head), head.is_rectified
    layer = question.architecture.layer or found.layer
    try:
        output = question.output_of(layer)
    except (AttributeError, KeyError):
        return f"{layer!r} is not a module, and the catalogue names none"
    layout = layout_of(output, cells, question.architecture.tokens)
    if layout is None:
        return f"{layer!r} gives {output.shape}, in which cells {cells} cannot be found"
    return layer, layout, False


def _fields(maps: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Three random fields over cells, and that of the strongest cell, each with the size of its sums, (N, K)."""
    generator = np.random.default_rng(seed)
    flat = np.abs(maps).reshape(*maps.shape[:2], -1)
    norm = np.sqrt((flat**2).sum(axis=2))
    strongest = np.zeros(maps.shape[2:])
    strongest.flat[flat.max(axis=(0, 1)).argmax()] = 1
    return [*((generator.normal(size=maps.shape[2:]), norm) for _ in range(3)), (strongest, flat.max(axis=2))]


def _changes(
    layout: Layout, direction: np.ndarray, *, is_rectified: bool
) -> Callable[[float], Callable[[np.ndarray], np.ndarray]]:
    """Add a share of a direction to a layer's output.

    Where a functional ReLU follows, the features behind it are moved: all are lifted first, so that the ReLU lets
    them pass. Behind it are a pool and a linear layer, whose derivative is the same there.
    """
    lift = 1 + 2 * np.abs(direction).max()

    def change(step: float) -> Callable[[np.ndarray], np.ndarray]:
        def changed(output: np.ndarray) -> np.ndarray:
            features = layout.read(np.maximum(output, 0) + lift if is_rectified else output)
            return layout.write(features + step * direction, output)

        return changed

    return change


def _scores_along(question: Question, layer: str, change: Callable[[float], Any]) -> Callable[[float], np.ndarray]:
    def scores(step: float) -> np.ndarray:
        return question.scores_with(layer, change(step))

    return scores


# ---- at the input


def gradient(question: Question, found: Any) -> Verdict:
    """Sums of the gradient against test images are derivatives of the score."""
    return _derivatives(question, question.scores_of, found.attribution)


def clear(question: Question, found: Any) -> Verdict:
    """What arrives for class k is the derivative of sum_p relu(M_k)(p) M_k(p), the first factor held fixed.

    M_k is the class map; where the model has none, the logit stands for it, and the result says so.
    """
    head = question.architecture.head
    from_maps = not any("want of class maps" in check.name for check in found.checks)
    if from_maps and (head is None or head.linear is None):
        return unchecked("pulled back from class maps, and the catalogue names no linear head")
    if not from_maps or head is None:
        weights = np.maximum(question.scores, 0)
        verdict = _derivatives(question, lambda images: weights * question.scores_of(images), found.attribution)
        if head is None or head.linear is None:
            return verdict
        return Verdict(verdict.residual, verdict.tolerance, "from logits, though the model has class maps")
    fixed = np.maximum(class_maps(question, head, question.images), 0)

    def evidence(images: np.ndarray) -> np.ndarray:
        maps = fixed * class_maps(question, head, images)
        summed: np.ndarray = maps.reshape(*maps.shape[:2], -1).sum(axis=2)
        return summed

    return _derivatives(question, evidence, found.attribution)


def _derivatives(question: Question, scores: Callable[[np.ndarray], np.ndarray], given: np.ndarray) -> Verdict:
    """Compare a gradient (N, K, C, *space) with central differences of `scores` along four directions."""
    images = question.images
    if given.shape[2:] != images.shape[1:]:
        return Verdict(np.inf, DIFFERENCES, f"gradient of shape {given.shape}, images of {images.shape}")
    residual = 0.0
    for direction, size in _fields(given, seed=4):
        expected = _against(direction, given)
        along = _moved(scores, images, direction)
        residual = max(residual, _closest(along, expected, size, np.abs(images).max() / np.abs(direction).max()))
        if residual > DIFFERENCES:
            break
    return Verdict(residual, DIFFERENCES)


def _moved(
    scores: Callable[[np.ndarray], np.ndarray], images: np.ndarray, direction: np.ndarray
) -> Callable[[float], np.ndarray]:
    return lambda step: scores(images + step * direction)


def _closest(scores: Callable[[float], np.ndarray], expected: np.ndarray, size: np.ndarray, scale: float) -> float:
    """The smallest deviation of a difference, relative to `size`; the largest of all images and classes."""
    here = scores(0.0)
    closest = np.full(expected.shape, np.inf)
    for relative in STEPS:
        step = relative * scale
        after, before = scores(step), scores(-step)
        for slope in ((after - before) / (2 * step), (after - here) / step, (here - before) / step):
            closest = np.minimum(closest, np.abs(slope - expected) / np.where(size > 0, size, 1))
        if closest.max() <= DIFFERENCES:
            break
    return float(closest.max())


def _against(field: np.ndarray, arrays: np.ndarray) -> np.ndarray:
    """Sums of arrays (N, K, ...) against a field over their last axes, (N, K)."""
    sums: np.ndarray = (arrays * field).reshape(*arrays.shape[:2], -1).sum(axis=2)
    return sums


def _layout(question: Question, head: Head) -> Layout:
    return Layout(head.channels_last, question.architecture.tokens)
