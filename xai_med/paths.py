"""Integrals of a gradient along straight paths, by as many midpoints as completeness needs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xai_med.backend.tensors import Array, Tensor, shape_of
from xai_med.errors import IdentityError
from xai_med.repeated import Repeated


@dataclass(frozen=True, eq=False)
class Path:
    """What was found along one path.

    Parameters
    ----------
    values : tensor of shape (N, K, C, *space)
        The integral times the difference of image and start.
    deviation : float
        Largest of the sums of `values` from the differences of scores, relative to them.
    steps : int
        The most that an image needed.
    """

    values: Tensor
    deviation: float
    steps: int


def path_integral(asked: Repeated, images: Array, start: Array, steps: int, most_steps: int, tolerance: float) -> Path:
    """Integrate a method's values from start to image, by midpoints of equal parts.

    Their number is tripled until each image's and score's sum is near enough, as a third of the middles is then known.

    Parameters
    ----------
    asked : Repeated
        The gradient, for fixed scores.
    images, start : ndarray of shape (N, C, *space)
        Ends of the path.
    steps, most_steps : int
        To begin with, and at most.
    tolerance : float
        Share of the difference of scores by which the sum may differ from it.

    Raises
    ------
    IdentityError
        A sum does not come near enough.
    """
    tensors = asked.request.network.tensors
    rise = asked.explained.selection.scores - asked.scores(start)
    difference = tensors.from_numpy((images - start)[:, None], asked.request.batch)
    total: Tensor = sum(asked.at(point).values for point in _midpoints(images, start, steps, every=True))
    values, done = total * 0, np.zeros(rise.shape, dtype=bool)
    worst = 0.0
    while True:
        found = total * difference / steps
        deviations = _deviations(tensors.to_numpy(found), rise)
        is_new = (deviations <= tolerance) & ~done
        worst = max(worst, float(deviations[is_new].max(initial=0.0)))
        ones = (1,) * (len(shape_of(found)) - 2)
        values = tensors.where(tensors.from_numpy(is_new.reshape(*is_new.shape, *ones), found), found, values)
        done |= is_new
        if done.all():
            return Path(values, worst, steps)
        steps *= 3
        if steps > most_steps:
            raise IdentityError(
                f"integrated gradients are not complete: after {steps // 3} steps the sum differs from the difference "
                f"of the scores by {float(deviations[~done].max()):.3g} of it (at most {tolerance:g}); raise "
                f"most_steps, choose another baseline, or compute with dtype='float64'"
            )
        for point in _midpoints(images, start, steps, every=False):
            total = total + asked.at(point).values


def _midpoints(images: Array, start: Array, steps: int, *, every: bool) -> Iterator[Array]:
    """Middles of equal parts of the path; of three times as many parts every third middle was there before."""
    for index in range(steps):
        if every or index % 3 != 1:
            yield (start + (index + 0.5) / steps * (images - start)).astype(images.dtype)


def _deviations(values: Array, rise: Array) -> Array:
    """Of each sum from the difference of scores, relative to it; to a tenth of what cancels where that is more."""
    flat = values.astype(np.float64).reshape(*rise.shape, -1)
    size = np.maximum(np.abs(rise), np.abs(flat).sum(axis=2) / 10)
    return np.asarray(np.abs(flat.sum(axis=2) - rise) / np.maximum(size, np.finfo(np.float64).tiny))
