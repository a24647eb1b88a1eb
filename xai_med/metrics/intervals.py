"""Means over images with intervals, by resampling images or whole patients."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from xai_med.errors import SettingError, ShapeError


@dataclass(frozen=True)
class Estimate:
    """A mean over images.

    Parameters
    ----------
    mean : float
        Over images where the metric exists; NaN without any.
    low, high : float
        Of the interval; NaN where there are fewer than two images, or patients, to resample.
    images : int
        Where the metric exists.
    undefined : int
        Where it does not.
    level : float
        Of the interval.
    """

    mean: float
    low: float
    high: float
    images: int
    undefined: int
    level: float = 0.95

    def __str__(self) -> str:
        """As ``0.88 (0.83 to 0.93; 160 images)``."""
        without = f", {self.undefined} undefined" if self.undefined else ""
        return f"{self.mean:.3g} ({self.low:.3g} to {self.high:.3g}; {self.images} images{without})"


def mean_with_interval(
    values: ArrayLike,
    *,
    groups: Sequence[object] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Mean of one number per image, and the percentile interval of its bootstrap.

    Parameters
    ----------
    values : array-like of shape (N,)
        NaN where the metric does not exist; such images are left out and counted.
    groups : sequence, optional
        Whose image each is, as scikit-learn names it; then whole patients are resampled.
    resamples : int
    level : float
        Of the interval, between 0 and 1.
    seed : int

    Raises
    ------
    ShapeError
        Values are not one per image, or groups differ in number.
    SettingError
        A setting is out of its range, or a group is NaN.

    References
    ----------
    Efron 1979, doi:10.1214/aos/1176344552 (bootstrap).
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1:
        raise ShapeError(f"values are one number per image, got shape {numbers.shape}")
    if not 0 < level < 1 or resamples < 1:
        raise SettingError(f"level lies between 0 and 1 and resamples is at least 1, got {level} and {resamples}")
    whose = np.arange(len(numbers)) if groups is None else np.asarray(groups)
    if whose.shape != numbers.shape:
        raise ShapeError(f"{whose.shape} groups were given for {len(numbers)} images")
    if whose.dtype.kind == "f" and np.isnan(whose).any():
        raise SettingError("groups holds NaN, which would make one patient of unrelated images; name each")
    exists = ~np.isnan(numbers)
    kept, whose = numbers[exists], whose[exists]
    if not len(kept):
        return Estimate(math.nan, math.nan, math.nan, 0, int((~exists).sum()), level)
    _, which = np.unique(whose, return_inverse=True)
    sums, counts = np.bincount(which, weights=kept), np.bincount(which)
    if len(sums) < 2:
        return Estimate(float(kept.mean()), math.nan, math.nan, len(kept), int((~exists).sum()), level)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(resamples, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return Estimate(float(kept.mean()), float(low), float(high), len(kept), int((~exists).sum()), level)
