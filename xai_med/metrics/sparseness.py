"""How few pixels hold a map."""

import math

import numpy as np
from numpy.typing import ArrayLike

from xai_med.errors import ShapeError
from xai_med.maps.finite import finite_floats


def sparseness(values: ArrayLike) -> float:
    """Gini index of a map's magnitudes: 0 where all are equal, ``1 - 1 / P`` where one of P pixels holds all.

    NaN where the map is zero everywhere, which shares nothing out.

    Parameters
    ----------
    values : array-like of any shape

    Raises
    ------
    ShapeError
        The map has no pixels.
    DtypeError, NonFiniteError
        The map does not hold finite real numbers.

    References
    ----------
    Chalasani et al. 2020, arXiv:1810.06583, section 3; Hurley and Rickard 2009, arXiv:0811.4706.
    """
    sizes = np.sort(np.abs(finite_floats(values, "the map").astype(np.float64)).ravel())
    if not sizes.size:
        raise ShapeError("the map has no pixels")
    if sizes[-1] == 0:
        return math.nan
    shares = sizes / sizes[-1]  # sums of very large or small values stay in range
    weights = 2 * np.arange(1, sizes.size + 1) - sizes.size - 1
    return float((weights * shares).sum() / (sizes.size * shares.sum()))
