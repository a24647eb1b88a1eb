"""Measures on phantoms what the demonstration reports: time, agreement of frameworks, and hits."""

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from xai_med.backend.tensors import Array
from xai_med.demo.network import demo_blueprint
from xai_med.demo.phantoms import FINDINGS, Phantoms
from xai_med.errors import MissingDependencyError
from xai_med.explanation import Explanation
from xai_med.front_door import explain
from xai_med.registry import get_backend
from xai_med.targets import Classes

METHODS = ("cam", "grad_cam", "gradient", "lrp", "clear")
FRAMEWORKS = ("torch", "paddle")
TOLERANCE_PIXELS = 4
"""A peak this close to the finding counts: half of a cell of the network's 16 x 16 features."""

AFFIRMED = 0.5
"""Probability from which a finding counts as affirmed."""

_CHUNK = 16


@dataclass(frozen=True, eq=False)
class Measured:
    """One method in one framework on all phantoms.

    Parameters
    ----------
    method, framework : str
    seconds : float
        Per image, all findings.
    hits : ndarray of shape (F,), float64
        Share of present findings whose map has its peak there, finding by finding.
    differences : ndarray of shape (N * F,), float64, or None
        Of each map: largest difference to the first framework's, relative to its range; None for the first.
    maps : ndarray of shape (N, F, H, W), float32
    example : Explanation
        Of the example phantom alone.
    """

    method: str
    framework: str
    seconds: float
    hits: Array
    differences: Array | None
    maps: Array
    example: Explanation


def installed_frameworks() -> tuple[str, ...]:
    """Names of the frameworks that can be imported, found without importing them.

    Raises
    ------
    MissingDependencyError
        There is none.
    """
    found = tuple(name for name in FRAMEWORKS if importlib.util.find_spec(name) is not None)
    if not found:
        raise MissingDependencyError(
            "the demonstration needs PyTorch or PaddlePaddle; install one with: pip install 'xai-med[torch]'"
        )
    return found


def example_index(phantoms: Phantoms) -> int:
    """The first phantom with the most findings."""
    return int(phantoms.labels.sum(axis=1).argmax())


def measure(
    phantoms: Phantoms, frameworks: Sequence[str], *, progress: Callable[[str], None] = lambda _: None
) -> list[Measured]:
    """Run every method for all findings in every framework.

    Parameters
    ----------
    phantoms : Phantoms
        With known findings.
    frameworks : sequence of str
        The first is the one that others are compared with.
    progress : callable
        Told what begins.
    """
    results: list[Measured] = []
    nearby = dilated(phantoms.masks)
    for framework in frameworks:
        backend = get_backend(framework)
        model = backend.build(demo_blueprint())
        for method in METHODS:
            progress(f"{method} in {framework}")
            first = explain_example(model, phantoms.images[example_index(phantoms)][None], method)
            maps, seconds = _all_maps(model, phantoms, method)
            earlier = next((r.maps for r in results if r.method == method), None)
            results.append(
                Measured(
                    method=method,
                    framework=framework,
                    seconds=seconds,
                    hits=hit_rates(peaks(maps), nearby, phantoms.labels),
                    differences=None if earlier is None else relative_differences(earlier, maps),
                    maps=maps,
                    example=first,
                )
            )
    return results


def explain_example(model: object, image: Array, method: str) -> Explanation:
    """Explain one phantom for its pictures.

    CLEAR compares the findings that the network affirms, each by its own best places: scaled alike, a finding that is
    denied would look as present as one that is affirmed.
    """
    everything = explain(
        model, image, method="cam" if method == "clear" else method, target="all", class_names=FINDINGS
    )
    if method != "clear" or everything.probabilities is None:
        return everything
    affirmed = np.flatnonzero(everything.probabilities[0] >= AFFIRMED)
    target = Classes(*map(int, affirmed)) if len(affirmed) else "all"
    return explain(model, image, method="clear", target=target, class_names=FINDINGS, calibrate="per_class_max")


def _all_maps(model: object, phantoms: Phantoms, method: str) -> tuple[Array, float]:
    explain(model, phantoms.images[:_CHUNK], method=method, target="all", keep_input=False)  # frameworks plan at first
    started = time.perf_counter()
    maps = [
        explain(model, phantoms.images[start : start + _CHUNK], method=method, target="all", keep_input=False).maps
        for start in range(0, len(phantoms.images), _CHUNK)
    ]
    return np.concatenate(maps), (time.perf_counter() - started) / len(phantoms.images)


def dilated(masks: Array) -> Array:
    """Masks (N, F, H, W) grown by `TOLERANCE_PIXELS` in every direction."""
    ball = np.hypot(*np.mgrid[-TOLERANCE_PIXELS : TOLERANCE_PIXELS + 1, -TOLERANCE_PIXELS : TOLERANCE_PIXELS + 1])
    structure = (ball <= TOLERANCE_PIXELS)[None, None]
    return np.asarray(ndimage.binary_dilation(masks, structure))


def peaks(maps: Array) -> Array:
    """Row and column of each map's first largest value, (N, F, 2)."""
    flat = maps.reshape(*maps.shape[:2], -1).argmax(axis=2)
    return np.stack(np.unravel_index(flat, maps.shape[2:]), axis=-1)


def hit_rates(points: Array, masks: Array, labels: Array) -> Array:
    """Share of present findings whose point lies in the mask, finding by finding, (F,)."""
    images, findings = np.indices(labels.shape)
    inside = masks[images, findings, points[..., 0], points[..., 1]] & labels
    return np.asarray(inside.sum(axis=0) / np.maximum(labels.sum(axis=0), 1))


def centre_hit_rates(phantoms: Phantoms) -> Array:
    """What the centre of the image, in place of a map's peak, would hit."""
    height, width = phantoms.images.shape[2:]
    points = np.broadcast_to(np.array([height // 2, width // 2]), (*phantoms.labels.shape, 2))
    return hit_rates(points, dilated(phantoms.masks), phantoms.labels)


def relative_differences(first: Array, second: Array) -> Array:
    """Largest difference of each map to its counterpart, relative to the range of the first, flattened."""
    axes = tuple(range(2, first.ndim))
    span = np.ptp(first, axis=axes)
    difference = np.abs(first.astype(np.float64) - second).max(axis=axes)
    return np.asarray(difference / np.where(span > 0, span, 1)).ravel()
