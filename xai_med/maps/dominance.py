"""Which class dominates where: the composition of CLEAR maps from per-class responses."""

from dataclasses import dataclass

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import ShapeError

NO_CLASS = -1
"""Value of the dominant class where no class responds."""


@dataclass(frozen=True, eq=False)
class Dominance:
    """The two maps of a CLEAR explanation.

    Parameters
    ----------
    position : ndarray of shape (N, *space), int64
        Position of the dominant class among the K explained ones, -1 where none responds.
    response : ndarray of shape (N, *space), same dtype as the responses
        Its response; 0 where none responds.
    ties : int
        Cells in which several classes share the largest response; the lowest position is taken.
    """

    position: Array
    response: Array
    ties: int


def dominance(responses: Array, *, threshold: float = 0.0) -> Dominance:
    """Compare the responses of classes place by place.

    Parameters
    ----------
    responses : ndarray of shape (N, K, *space)
        Comparable, larger means more.
    threshold : float
        Cells whose largest response is at most this share of the image's largest belong to no class.

    Raises
    ------
    ShapeError
        Fewer than three axes.

    References
    ----------
    Kumar, Wong, Taylor 2017, arXiv:1704.04133, equations 4 and 5; empty cells and ties are our definition.
    """
    if responses.ndim < 3:
        raise ShapeError(f"responses must be (N, K, *space), got {responses.shape}")
    largest = responses.max(axis=1)
    space = tuple(range(1, largest.ndim))
    limit = np.maximum(largest.max(axis=space, keepdims=True), 0) * threshold
    is_empty = largest <= limit
    ties = ((responses == largest[:, None]).sum(axis=1) > 1) & ~is_empty
    position = np.where(is_empty, NO_CLASS, responses.argmax(axis=1)).astype(np.int64)
    return Dominance(position, np.where(is_empty, 0, largest).astype(responses.dtype), int(ties.sum()))
