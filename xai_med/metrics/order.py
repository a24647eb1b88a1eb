"""In which order the pixels of a map come."""

from dataclasses import dataclass

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError


@dataclass(frozen=True, eq=False)
class PixelOrder:
    """Pixels from the largest value of a map to the smallest.

    Parameters
    ----------
    pixels : ndarray of shape (P,), int
        Positions in the flattened map. Of equal values the first in row-major order comes first.
    tied : int
        How many pixels share their value with another one. Among these the order says nothing of the map: it runs
        from the image's first corner to its last.
    """

    pixels: Array
    tied: int


def pixel_order(values: Array, *, largest_first: bool = True) -> PixelOrder:
    """Order the pixels of a map (*space).

    Raises
    ------
    SettingError
        The map is constant: it orders nothing.
    """
    flat = values.ravel()
    if np.ptp(flat) == 0:
        raise SettingError(f"the map is {flat[0]:g} everywhere: it orders no pixels, and nothing can be judged by it")
    _, counts = np.unique(flat, return_counts=True)
    pixels = np.argsort(-flat if largest_first else flat, kind="stable")
    return PixelOrder(pixels, int(counts[counts > 1].sum()))
