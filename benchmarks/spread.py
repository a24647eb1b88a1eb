"""The middle of some measurements, and how far they spread."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

DIGITS = 5
"""Significant digits that are kept; more is noise."""


@dataclass(frozen=True)
class Spread:
    """Median and quartiles, extremes, and of how many."""

    median: float
    low: float
    high: float
    smallest: float
    largest: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Sum up at least one value."""
        low, median, high = (_rounded(value) for value in np.percentile(values, (25, 50, 75)))
        return cls(median, low, high, _rounded(min(values)), _rounded(max(values)), len(values))

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Spread":
        """From what `stored` gave."""
        return cls(**stored)

    def stored(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
