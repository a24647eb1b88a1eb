"""What stands in for a pixel that is taken away.

No choice is neutral: a removed pixel is an invented one, and the ranking of methods by deletion changes with it
(Hedström et al. 2023, arXiv:2202.06861, figure 1c). Results therefore name their fill.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy import ndimage

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError, ShapeError
from xai_med.maps.finite import finite_floats
from xai_med.metrics.settings import amount, whole_number


@dataclass(frozen=True)
class Blur:
    """A Gaussian blur of the image, cut off and scaled to sum to one; outside lies the nearest pixel.

    Parameters
    ----------
    sigma_px : float
        Standard deviation.
    radius_px : int
        Beyond which the weights are zero: the kernel has 2 radius + 1 pixels along each space axis.

    References
    ----------
    Petsiuk et al. 2018, arXiv:1806.07421, whose code blurs images of 224 pixels with 11 pixels of sigma 5 and takes
    zeros outside. On larger images the same blur hides less.
    """

    sigma_px: float = 5.0
    radius_px: int = 5

    def __post_init__(self) -> None:
        amount(self.sigma_px, "sigma_px", above=0)
        whole_number(self.radius_px, "radius_px", least=1)


Fill: TypeAlias = Literal["blur", "mean", "zero"] | Blur | float | Array
"""``"zero"``, ``"mean"`` (of each channel over space), ``"blur"`` (the default `Blur`), a `Blur`, a number for every
pixel, or an array: one number per channel (C,), or an image (C, *space)."""


@dataclass(frozen=True, eq=False)
class Filling:
    """An image that removed pixels are taken from.

    Parameters
    ----------
    name : str
        How results call it.
    values : ndarray of shape (C, *space)
        Read-only, in the dtype of the image.
    """

    name: str
    values: Array


def filling(image: Array, fill: Fill) -> Filling:
    """Make what stands in for removed pixels.

    Parameters
    ----------
    image : ndarray of shape (C, *space), float
    fill : Fill

    Raises
    ------
    SettingError
        An unknown word, or a fill that equals the image everywhere: nothing would ever be removed.
    ShapeError
        An array is neither (C,) nor of the image's shape.
    """
    name, values = _named(image, fill)
    with np.errstate(over="ignore"):  # told of below
        whole = np.array(np.broadcast_to(values, image.shape), dtype=image.dtype)
    if not np.isfinite(whole).all():
        raise SettingError(f"the fill {name} is too large for the image's {image.dtype}")
    if (whole == image).all():
        raise SettingError(f"the fill {name} equals the image everywhere: no pixel can be removed; choose another fill")
    whole.setflags(write=False)
    return Filling(name, whole)


def unchanged_pixels(image: Array, filled: Filling) -> int:
    """How many pixels look the same when they are removed, in all channels."""
    return int((image == filled.values).all(axis=0).sum())


def _named(image: Array, fill: Fill) -> tuple[str, Array]:
    space = tuple(range(1, image.ndim))
    if isinstance(fill, str):
        if fill == "zero":
            return "zero", np.zeros(())
        if fill == "mean":
            return "mean", image.mean(axis=space, keepdims=True, dtype=np.float64)
        if fill == "blur":
            return _named(image, Blur())
        raise SettingError(f"fill is 'blur', 'mean', 'zero', a Blur, a number or an array; got {fill!r}")
    if isinstance(fill, Blur):
        name = f"blur (sigma {fill.sigma_px:g} px, radius {fill.radius_px} px)"
        wide = image.astype(np.float64)
        return name, ndimage.gaussian_filter(wide, fill.sigma_px, radius=fill.radius_px, axes=space, mode="nearest")
    if np.ndim(fill) == 0:
        number = amount(fill, "fill")
        return f"{number:g}", np.asarray(number)
    array = finite_floats(fill, "the fill")
    if array.shape == (image.shape[0],):
        return "one number per channel", array.reshape(-1, *(1 for _ in space))
    if array.shape != image.shape:
        raise ShapeError(
            f"the fill is {array.shape}; an array must be ({image.shape[0]},), one number per channel, or {image.shape}"
        )
    return "image", array
