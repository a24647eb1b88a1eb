"""Compares what was returned with the same thing computed another way, element by element."""

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.checks import Check
from xai_med.errors import IdentityError


def agreement_check(
    given: Array, expected: Array, tolerance: float, *, what: str, key: str, sizes: Array | None = None
) -> Check:
    """Compare map by map: the largest difference relative to the largest value of either.

    Parameters
    ----------
    given, expected : ndarray of shape (N, K, ...)
        Returned, and computed anew.
    tolerance : float
        Of the largest deviation.
    what, key : str
        In words, and of the check.
    sizes : ndarray of shape (N, K) or None
        What differences are relative to instead, as where only the positive part of a map was returned.

    Raises
    ------
    IdentityError
        They differ by more.
    """
    if given.shape != expected.shape:
        raise IdentityError(f"{what}: the result has shape {given.shape}, computed anew {expected.shape}; report this")
    flat, wanted = (array.astype(np.float64).reshape(*array.shape[:2], -1) for array in (given, expected))
    largest = np.maximum(np.abs(wanted), np.abs(flat)).max(axis=2) if sizes is None else sizes
    deviations = np.abs(flat - wanted).max(axis=2) / np.maximum(largest, np.finfo(np.float64).tiny)
    check = Check(what, float(deviations.max()), tolerance, key=key)
    if not check.passed:
        raise IdentityError(
            f"the attribution is not what it claims to be ({check}); do not use this map: report it, with the model"
        )
    return check
