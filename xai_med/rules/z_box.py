"""The z-box rule of the first layer: pixels are bounded, and contributions are measured from the bounds."""

from dataclasses import dataclass

import numpy as np

from xai_med.backend.operations import Operation
from xai_med.backend.tensors import Tensor, Tensors, precision, shape_of
from xai_med.errors import SettingError
from xai_med.rules.first_layer import on_probe, probe_of
from xai_med.rules.stabilise import redistribute


@dataclass(frozen=True)
class ZBox:
    """Contributions measured from the ends of the pixel range: ``a w - low [w]+ - high [w]-``.

    Parameters
    ----------
    low, high : float or sequence of float
        Range of the model's input, after its normalisation; one number for each channel where ranges differ, as after
        the normalisation of ImageNet: ``(0 - mean) / std`` and ``(1 - mean) / std``. Pixels must lie within.

    Raises
    ------
    SettingError
        The range is empty or not finite, or `low` and `high` have different numbers of channels.

    References
    ----------
    Montavon et al. 2017, arXiv:1512.02479, section 4.1.3.
    """

    low: float | tuple[float, ...]
    high: float | tuple[float, ...]
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        low, high = (np.asarray(end, dtype=np.float64) for end in (self.low, self.high))
        is_range = max(low.ndim, high.ndim) <= 1 and (low.shape == high.shape or not (low.ndim and high.ndim))
        if not (is_range and np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
            raise SettingError(
                f"low and high must be finite numbers, or one for each channel, low below high; got {self.low!r} and "
                f"{self.high!r}"
            )
        for name, end in (("low", low), ("high", high)):
            object.__setattr__(self, name, tuple(end.tolist()) if end.ndim else float(end))

    @property
    def name(self) -> str:
        """Rule and setting."""
        return f"z_box({_shown(self.low)}, {_shown(self.high)}, {self.epsilon:g})"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of the first layer.

        Raises
        ------
        SettingError
            A pixel lies outside of the range, where shares could be of either sign, or there are other channels.
        """
        probe, pixels = probe_of(operation), operation.inputs[0]
        low, high = (self._per_channel(end, pixels, tensors) for end in (self.low, self.high))
        self._refuse_outside(low, high, tensors.stop_gradient(pixels), tensors)
        parts = on_probe(operation, lambda weight: weight, of=pixels)
        positive = on_probe(operation, tensors.relu, of=probe * low)
        negative = on_probe(operation, lambda weight: tensors.clip(weight, high=0.0), of=probe * high)
        return redistribute(parts - positive - negative, operation.value, self.epsilon, tensors)

    def _per_channel(self, end: float | tuple[float, ...], pixels: Tensor, tensors: Tensors) -> Tensor | float:
        """One end of the range, as it multiplies images (N, C, *space)."""
        if isinstance(end, float):
            return end
        shape = shape_of(pixels)
        if len(end) != shape[1]:
            raise SettingError(f"{self.name} is the range of {len(end)} channels, the images have {shape[1]}")
        values = tensors.from_numpy(np.asarray(end), pixels)
        return tensors.reshape(values, (1, -1, *(1,) * (len(shape) - 2)))

    def _refuse_outside(self, low: Tensor | float, high: Tensor | float, pixels: Tensor, tensors: Tensors) -> None:
        axes = tuple(range(len(shape_of(pixels))))

        def smallest(tensor: Tensor) -> float:
            return float(tensors.to_numpy(tensors.amin(tensor, axes)))

        outside = -min(smallest(pixels - low), smallest(-(pixels - high)))
        largest_end = max(abs(end) for end in (*np.ravel(self.low), *np.ravel(self.high)))
        if outside > 8 * precision(tensors.dtype(pixels)) * largest_end:  # more than the rounding of a normalisation
            raise SettingError(
                f"pixels must lie within the range of {self.name}; they reach from {smallest(pixels):g} to "
                f"{-smallest(-pixels):g}, up to {outside:.3g} outside: give the range that the model's input can have"
            )


def _shown(end: float | tuple[float, ...]) -> str:
    return f"{end:g}" if isinstance(end, float) else f"({', '.join(f'{each:g}' for each in end)})"
