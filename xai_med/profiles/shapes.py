"""Pieces of which other libraries' arrays are made."""

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import NotApplicableError
from xai_med.explanation import Explanation


def as_attributed(explanation: Explanation) -> Array:
    """The attribution where it arises: (N, K, C, *space) at the input, (N, K, *layer space) at a layer."""
    return explanation.attribution


def with_channel_axis(explanation: Explanation) -> Array:
    """Maps of a layer with an axis for a single channel, (N, K, 1, *layer space)."""
    return explanation.attribution[:, :, None]


def space_axes(explanation: Explanation) -> tuple[int, ...]:
    """The last axes of maps, counted from the end."""
    return tuple(range(-(explanation.maps.ndim - 2), 0))


def zero_to_one(maps: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    """Subtract the minimum, and divide by what is then the maximum and epsilon."""
    shifted = maps - maps.min(axis=axes, keepdims=True)
    return np.asarray(shifted / (shifted.max(axis=axes, keepdims=True) + epsilon))


def from_one(explanation: Explanation) -> Array:
    """Relevance (N, K, C, *space) that began as 1 instead of the score.

    Raises
    ------
    NotApplicableError
        A score is not one class, or is zero.
    """
    if (explanation.class_indices < 0).any():
        raise NotApplicableError("relevance that begins as 1 is that of one class; give classes as the target")
    if (explanation.scores == 0).any():
        raise NotApplicableError("relevance that begins as 1 cannot be had from that of a logit of exactly zero")
    scores = explanation.scores.reshape(*explanation.scores.shape, *(1,) * (explanation.attribution.ndim - 2))
    return np.asarray((explanation.attribution / scores).astype(explanation.attribution.dtype))
