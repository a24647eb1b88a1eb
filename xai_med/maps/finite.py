"""The check that every map and every image passes before anything is computed from it."""

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import DtypeError, NonFiniteError


def count_non_finite(values: Array) -> int:
    """How many numbers are NaN or infinite; the extremes tell that none is, faster than a flag for each would."""
    if values.size == 0 or (np.isfinite(values.max()) and np.isfinite(values.min())):
        return 0
    return int((~np.isfinite(values)).sum())


def finite_floats(values: ArrayLike, name: str) -> Array:
    """Take real numbers as floats, float32 or wider, and refuse NaN and infinity.

    Parameters
    ----------
    values : array-like
        Real numbers or booleans; never written to.
    name : str
        What the errors call it.

    Raises
    ------
    DtypeError
        Complex numbers, text or objects.
    NonFiniteError
        NaN or infinity.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise DtypeError(f"{name} must hold real numbers, got dtype {array.dtype}; convert it to float32")
    floats = array.astype(np.result_type(array.dtype, np.float32), copy=False)
    finite = np.isfinite(floats)
    if not finite.all():
        first = tuple(int(index) for index in np.argwhere(~finite)[0])
        raise NonFiniteError(
            f"{name} holds {int((~finite).sum())} values that are NaN or infinite, the first at {first}; "
            "find where they arise before anything is drawn or normalised"
        )
    return floats
