"""Which slice of a volume is shown."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError, ShapeError
from xai_med.maps.finite import finite_floats


@dataclass(frozen=True)
class Slice:
    """One plane of a volume (D, H, W): `index` along space axis `axis`, of `count`."""

    axis: int
    index: int
    count: int

    def of(self, volume: Array, *, first_axis: int = 0) -> Array:
        """Cut the plane out of an array whose space axes start at `first_axis`."""
        plane: Array = np.take(volume, self.index, axis=first_axis + self.axis)
        return plane

    def __str__(self) -> str:
        """Name it as a caption does, counted from 0 as array indices are."""
        return f"slice {self.index} of 0..{self.count - 1}, axis {self.axis}"


def choose_slice(relevance: ArrayLike, *, axis: int = 0, index: int | None = None) -> Slice:
    """Choose the plane with the most relevance, or the one asked for.

    Parameters
    ----------
    relevance : array-like of shape (D, H, W)
        The first plane with the largest sum of magnitudes is taken; the middle one if all are zero.
    axis : int
        Space axis that is cut: 0, 1 or 2.
    index : int, optional
        Position along `axis`.

    Raises
    ------
    ShapeError
        `relevance` is not a volume.
    SettingError
        There is no such axis or index.
    """
    values = finite_floats(relevance, "relevance").astype(np.float64)
    if values.ndim != 3 or values.size == 0:
        raise ShapeError(f"a volume has shape (D, H, W), got {values.shape}")
    if axis not in (0, 1, 2):
        raise SettingError(f"axis is 0, 1 or 2, got {axis!r}")
    count = values.shape[axis]
    if index is None:
        others = tuple(other for other in range(3) if other != axis)
        sums = np.abs(values).sum(axis=others)
        index = int(sums.argmax()) if sums.any() else count // 2
    if not 0 <= index < count:
        raise SettingError(f"slice {index} was asked for, axis {axis} has {count} slices (0..{count - 1})")
    return Slice(axis=axis, index=int(index), count=count)
