"""Normalisers of maps: explicit, outside the methods, by true extremes, with a flag where nothing is left."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import NonFiniteError, SettingError, ShapeError
from xai_med.maps.finite import finite_floats


@dataclass(frozen=True, eq=False)
class Normalised:
    """Normalised maps, and which of them had nothing to normalise.

    Parameters
    ----------
    values : ndarray of shape (..., *space)
        Read-only; zeros where `constant`.
    constant : ndarray of shape (...), bool
        Read-only. True where the divisor was zero: for `min_max` every value of the map is the same, for
        `divide_by_max` none is positive, for the others all are zero.
    """

    values: Array
    constant: Array

    def __post_init__(self) -> None:
        for name in ("values", "constant"):
            view = np.asarray(getattr(self, name)).view()
            view.setflags(write=False)
            object.__setattr__(self, name, view)


def min_max(maps: ArrayLike, space: int) -> Normalised:
    """Subtract each map's minimum and divide by its range, so that it spans 0 to 1.

    Hides sign and magnitude: a class that the model denies gets as hot a map as one that it affirms.

    Parameters
    ----------
    maps : array-like of shape (..., *space)
        Each map of the leading axes is normalised by itself.
    space : int
        Number of trailing space axes.

    Raises
    ------
    ShapeError
        `space` does not fit the array, or a map has no elements.
    NonFiniteError
        NaN or infinity, or a range that float64 cannot hold.

    References
    ----------
    Zhou et al. 2016, arXiv:1512.04150, `pytorch_CAM.py`; there a constant map gives NaN, here zeros.
    """
    array, axes = _maps_and_axes(maps, space)
    shifted = _wide(array) - array.min(axis=axes, keepdims=True)
    return _divided(shifted, shifted.max(axis=axes, keepdims=True), space, array.dtype)


def divide_by_max(maps: ArrayLike, space: int) -> Normalised:
    """Divide each map by its largest value, keeping negative values; see `min_max` for the parameters.

    A map without a positive value has no maximum to divide by: it gives zeros and the flag.

    References
    ----------
    Selvaraju et al. 2017, arXiv:1610.02391, with the ReLU applied before.
    """
    array, axes = _maps_and_axes(maps, space)
    return _divided(_wide(array), np.maximum(_wide(array).max(axis=axes, keepdims=True), 0.0), space, array.dtype)


def divide_by_absolute_max(maps: ArrayLike, space: int) -> Normalised:
    """Divide each map by its largest magnitude: zero stays zero, signs stay; parameters as in `min_max`."""
    array, axes = _maps_and_axes(maps, space)
    return _divided(_wide(array), np.abs(_wide(array)).max(axis=axes, keepdims=True), space, array.dtype)


def sum_to_one(maps: ArrayLike, space: int) -> Normalised:
    """Divide each map by its sum, as a distribution over space; parameters as in `min_max`.

    Raises
    ------
    SettingError
        A map has negative values: its sum says nothing about its size.
    """
    array, axes = _maps_and_axes(maps, space)
    if array.size and array.min() < 0:
        raise SettingError(
            f"sum_to_one takes maps without negative values, the smallest is {array.min():.6g}; "
            "keep the positive part first, or use divide_by_absolute_max"
        )
    return _divided(_wide(array), _wide(array).sum(axis=axes, keepdims=True), space, array.dtype)


def _maps_and_axes(maps: ArrayLike, space: int) -> tuple[Array, tuple[int, ...]]:
    array = finite_floats(maps, "maps")
    if not 1 <= space <= array.ndim:
        raise ShapeError(f"{space} space axes were asked for, maps have shape {array.shape}")
    if 0 in array.shape[array.ndim - space :]:
        raise ShapeError(f"maps of shape {array.shape} have no elements to normalise")
    return array, tuple(range(array.ndim - space, array.ndim))


def _wide(array: Array) -> Array:
    return array.astype(np.result_type(array.dtype, np.float64), copy=False)


def _divided(values: Array, divisor: Array, space: int, dtype: np.dtype[np.generic]) -> Normalised:
    """Divide where the divisor is not zero; `divisor` has size 1 along the space axes."""
    if not np.isfinite(divisor).all():
        raise NonFiniteError("the range of a map is too large for float64; scale the maps down first")
    empty = divisor == 0
    quotient = np.where(empty, 0.0, values / np.where(empty, 1.0, divisor))
    leading = values.shape[: values.ndim - space]
    return Normalised(values=quotient.astype(dtype), constant=empty.reshape(leading))
