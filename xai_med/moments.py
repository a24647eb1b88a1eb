"""Mean and scatter of tensors that come one after the other."""

from collections.abc import Callable
from typing import Any

import numpy as np

from xai_med.backend.tensors import Array, Tensor
from xai_med.checks import Check


class Moments:
    """Running mean and sum of squared deviations (Welford 1962), which lose no digits where scatter is small."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor = 0.0
        self._deviations: Tensor = 0.0

    def add(self, tensor: Tensor) -> None:
        """Count one more."""
        self.count += 1
        difference = tensor - self.mean
        self.mean = self.mean + difference / self.count
        self._deviations = self._deviations + difference * (tensor - self.mean)

    @property
    def variance(self) -> Tensor:
        """Mean squared deviation."""
        return self._deviations / self.count

    @property
    def square(self) -> Tensor:
        """Mean square."""
        return self.mean * self.mean + self.variance

    def standard_error(self, to_numpy: Callable[[Any], Array]) -> Check:
        """How uncertain the mean of (N, K, ...) is: root of its summed squared errors, relative to its own size."""
        mean, variance = (to_numpy(part).astype(np.float64) for part in (self.mean, self.variance))
        axes = tuple(range(2, mean.ndim))
        size = np.sqrt((mean**2).sum(axis=axes))
        error = np.sqrt(variance.sum(axis=axes) / max(self.count - 1, 1)) / np.where(size > 0, size, 1)
        note = f"{self.count} samples; four times as many halve it"
        return Check(
            "standard error of the mean, relative to its size", float(error.max()), note=note, key="standard_error"
        )
