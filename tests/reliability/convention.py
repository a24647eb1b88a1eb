"""What libraries do to a map before they return it, as their manuals say; written again in NumPy."""

from collections.abc import Callable
from itertools import product
from typing import TypeAlias

import numpy as np

from reliability.subject import Map

Rule: TypeAlias = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]
"""From the signed raw map and the space of the images to what a library returns."""


def raw(values: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """Signed, as defined."""
    return values


def positive(values: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """The positive part."""
    return np.maximum(values, 0)


def magnitude(values: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """Absolute values."""
    return np.abs(values)


def stretched(values: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """Each map between 0 and 1; a constant one is 0."""
    axes = tuple(range(1, values.ndim))
    low, high = values.min(axis=axes, keepdims=True), values.max(axis=axes, keepdims=True)
    return np.where(high > low, (values - low) / np.where(high > low, high - low, 1), 0)


def positive_stretched(values: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """The positive part, between 0 and 1."""
    return stretched(positive(values, space), space)


def inverted(values: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """Enlarged, then the largest becomes 0 and the smallest 1; a constant map is 0."""
    large = enlarged(values, space)
    is_flat = np.ptp(large, axis=tuple(range(1, large.ndim)), keepdims=True) == 0
    return np.where(is_flat, 0, 1 - stretched(large, space))


def positive_inverted(values: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """The positive part, enlarged and inverted."""
    return inverted(positive(values, space), space)


def positive_enlarged(values: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """The positive part, stretched, enlarged and stretched again."""
    return stretched(enlarged(positive_stretched(values, space), space), space)


def channel_mean_stretched(values: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """The mean over channels, between 0 and 1."""
    return stretched(values.mean(axis=1), space)


def up_to_scale(values: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """Divided by the largest magnitude of each map."""
    largest = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True)
    return values / np.where(largest > 0, largest, 1)


def enlarged(values: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """Linear interpolation with half-pixel centres, point by point."""
    small = values.shape[1:]
    if small == tuple(space):
        return values
    found = np.zeros((len(values), *space))
    for place in product(*(range(size) for size in space)):
        corners = [_neighbours(at, old, new) for at, old, new in zip(place, small, space, strict=True)]
        for chosen in product(*corners):
            weight = np.prod([share for _, share in chosen])
            found[(slice(None), *place)] += weight * values[(slice(None), *(index for index, _ in chosen))]
    return found


def _neighbours(at: int, old: int, new: int) -> list[tuple[int, float]]:
    centre = min(max((at + 0.5) * old / new - 0.5, 0.0), old - 1.0)
    low = int(centre)
    return [(low, 1 - (centre - low)), (min(low + 1, old - 1), centre - low)]


def deviation(found: Map, expected: np.ndarray, space: tuple[int, ...]) -> float:
    """Largest difference from what the library should return, relative to the range of each map; inf for a misfit."""
    wanted = found.convention(expected, space)
    if found.values.shape != wanted.shape:
        return float("inf")
    difference = np.abs(found.values - wanted).reshape(len(wanted), -1).max(axis=1)
    size = np.abs(wanted).reshape(len(wanted), -1).max(axis=1)
    # a map that is zero everywhere has no size of its own: any difference beyond rounding is too much
    relative = [0.0 if d <= 1e-12 else float("inf") if s == 0 else d / s for d, s in zip(difference, size, strict=True)]
    return float(np.max(relative))  # NaN stays NaN
