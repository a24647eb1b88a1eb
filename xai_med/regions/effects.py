"""How large a difference between two groups is, beside whether it is one."""

import math

import numpy as np

from xai_med.backend.tensors import Array


def rank_biserial(first: Array, second: Array) -> float:
    """``2 U / (n m) - 1``: how much oftener a value of the first group exceeds one of the second than the reverse.

    Ties count half. 1 where all of the first are larger, -1 where all are smaller, 0 without a difference.

    References
    ----------
    Wendt 1972, doi:10.1002/ejsp.2420020412.
    """
    pairs = np.sign(first[:, None] - second[None])
    return float(pairs.mean())


def cohen_d(first: Array, second: Array) -> float:
    """Difference of means in units of the pooled standard deviation; NaN where neither group varies.

    References
    ----------
    Cohen 1988, Statistical Power Analysis, section 2.2.
    """
    n, m = len(first), len(second)
    if n + m < 3:
        return math.nan
    within = ((n - 1) * _variance(first) + (m - 1) * _variance(second)) / (n + m - 2)
    return float((first.mean() - second.mean()) / math.sqrt(within)) if within > 0 else math.nan


def _variance(values: Array) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0
