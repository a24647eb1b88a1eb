"""How far two attributions differ, map by map, and the same question asked in two frameworks."""

from typing import Any

import numpy as np

from xai_med import Explanation, explain
from xai_med.blueprints import Blueprint
from xai_med.registry import get_backend
from xai_med.testing.check_backend import relative

FRAMEWORKS = ("torch", "paddle")


def map_differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Largest difference of each map relative to its own range, (N, K); infinite where constant maps differ."""
    if first.shape != second.shape:
        raise ValueError(f"attributions of shape {first.shape} and {second.shape}")
    wide = first.astype(np.float64).reshape(*first.shape[:2], -1)
    differences = np.abs(wide - second.astype(np.float64).reshape(wide.shape)).max(axis=2)
    spans = np.ptp(wide, axis=2)
    empty = np.where(differences == 0, 0.0, np.inf)
    return np.where(spans > 0, differences / np.where(spans > 0, spans, 1), empty)


def in_both(blueprint: Blueprint, images: np.ndarray, **asked: Any) -> tuple[Explanation, Explanation]:
    """Explain a blueprint, built in float32, in torch and in paddle."""
    first, second = (
        explain(get_backend(framework).build(blueprint), images, **{"target": "all", **asked})
        for framework in FRAMEWORKS
    )
    return first, second


def rounding(narrow: tuple[Explanation, Explanation], wide: tuple[Explanation, Explanation]) -> float:
    """What float32 itself does to a method: the larger of both frameworks' distances from their own float64."""
    return max(relative(a.attribution, b.attribution) for a, b in zip(narrow, wide, strict=True))
