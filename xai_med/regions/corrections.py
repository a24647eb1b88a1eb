"""Corrections for asking many questions at once."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from xai_med.backend.tensors import Array


def holm(p_values: Array) -> Array:
    """Step-down adjusted p-values: as strict as Bonferroni's for the smallest, less for the rest.

    NaN stays NaN and is not counted as a test.

    References
    ----------
    Holm 1979, Scandinavian Journal of Statistics 6:65-70.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p_values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    steps = (len(order) - np.arange(len(order))) * p_values[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return adjusted


def bonferroni(p_values: Array) -> Array:
    """Each p-value times the number of tests; NaN is not counted."""
    p_values = np.asarray(p_values, dtype=np.float64)
    adjusted: Array = np.minimum(p_values * int((~np.isnan(p_values)).sum()), 1.0)
    return adjusted


def uncorrected(p_values: Array) -> Array:
    """The p-values as they are: for a single question that was asked before the data were seen."""
    return np.array(p_values, dtype=np.float64)


CORRECTIONS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {"holm": holm, "bonferroni": bonferroni, "none": uncorrected}
)
"""By name."""
