"""Tests of whether two groups of scores differ."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy import stats

from xai_med.backend.tensors import Array

_MOST_ORDERS = 20_000  # ways to part two groups that are all tried
_NORMALITY = 0.05  # level of the pre-tests in both published pipelines


@dataclass(frozen=True)
class Test:
    """One test, made.

    Parameters
    ----------
    name : str
        What was made, as ``"Mann-Whitney U, exact"``.
    statistic : float
        U of the first group, or t.
    p_value : float
        Two-sided.
    note : str
        Results of pre-tests.
    """

    name: str
    statistic: float
    p_value: float
    note: str = ""


def mann_whitney(first: Array, second: Array) -> Test:
    """Two-sided Mann-Whitney: exact in small groups, also with ties, else with a normal approximation.

    References
    ----------
    Mann and Whitney 1947, doi:10.1214/aoms/1177730491.
    """
    both = np.concatenate([first, second])
    if len(np.unique(both)) == len(both) or math.comb(len(both), len(first)) > _MOST_ORDERS:
        return _published_mann_whitney(first, second)
    every = stats.PermutationMethod(n_resamples=_MOST_ORDERS)  # as many as there are: the approximation is too sure
    found = stats.mannwhitneyu(first, second, alternative="two-sided", method=every)
    return Test("Mann-Whitney U, exact with ties", float(found.statistic), float(found.pvalue))


def _published_mann_whitney(first: Array, second: Array) -> Test:
    """Exact for at most eight values in a group without ties, as SciPy chooses by itself."""
    both = np.concatenate([first, second])
    is_exact = min(len(first), len(second)) <= 8 and len(np.unique(both)) == len(both)
    found = stats.mannwhitneyu(first, second, alternative="two-sided", method="exact" if is_exact else "asymptotic")
    kind = "exact" if is_exact else "normal approximation"
    return Test(f"Mann-Whitney U, {kind}", float(found.statistic), float(found.pvalue))


def by_normality(first: Array, second: Array) -> Test:
    """Student's t where Shapiro-Wilk of both groups and Levene pass at 0.05, else Mann-Whitney.

    What a pre-test decides distorts the error rate of the test that follows; this is here to repeat published results.

    References
    ----------
    Sümer et al. 2023, PMLR 219:712-736, and its released code.
    """
    pre = [_shapiro(first), _shapiro(second)]
    pre.append(float(stats.levene(first, second).pvalue) if not all(map(math.isnan, pre)) else math.nan)
    note = f"Shapiro-Wilk p = {pre[0]:.5f} and {pre[1]:.5f}, Levene p = {pre[2]:.5f}"
    if all(p > _NORMALITY for p in pre):  # NaN is no pass
        found = stats.ttest_ind(first, second)
        return Test("Student's t", float(found.statistic), float(found.pvalue), note)
    made = _published_mann_whitney(first, second)
    return Test(made.name, made.statistic, made.p_value, note)


def _shapiro(values: Array) -> float:
    """NaN for a constant group, of which nothing can be said."""
    return float(stats.shapiro(values).pvalue) if np.ptp(values) > 0 else math.nan


TESTS: Mapping[str, Callable[[Array, Array], Test]] = MappingProxyType(
    {"mann_whitney": mann_whitney, "by_normality": by_normality}
)
"""By name."""


def not_made(why: str) -> Test:
    """What stands where a test could not be made."""
    return Test("none", math.nan, math.nan, why)
