"""Over how many pixels a map spreads."""

import math

import numpy as np
from numpy.typing import ArrayLike

from xai_med.errors import ShapeError
from xai_med.maps.finite import finite_floats


def complexity(values: ArrayLike) -> float:
    """Entropy of a map's magnitudes as shares of their sum, in nats: 0 for one pixel, ``log P`` for P equal ones.

    ``exp`` of it is the number of equal pixels that would spread as far. NaN where the map is zero everywhere.

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
    Bhatt et al. 2020, arXiv:2005.00631 (complexity).
    """
    sizes = np.abs(finite_floats(values, "the map").astype(np.float64)).ravel()
    if not sizes.size:
        raise ShapeError("the map has no pixels")
    if sizes.max() == 0:
        return math.nan
    scaled = sizes / sizes.max()  # sums of very large or small values stay in range
    shares = scaled / scaled.sum()
    held = shares[shares > 0]
    return max(0.0, float(-(held * np.log(held)).sum()))
