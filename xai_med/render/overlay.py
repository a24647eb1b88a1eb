"""Relevance drawn over the image that it explains."""

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError, ShapeError
from xai_med.maps.finite import finite_floats
from xai_med.render.colour import Scale, scale_for, scaled_colours

Opacity: TypeAlias = float | Literal["value"]

HIGHEST_OPACITY = 0.7
"""Opacity of the strongest pixel under ``opacity="value"``: the finding stays visible below its colour."""

CONTOUR_COLOUR = (0.0, 1.0, 1.0)
"""Cyan is in no default colour map and no radiograph; a black rim sets it off from bright tissue."""


def overlay(
    image: ArrayLike,
    relevance: ArrayLike,
    *,
    colour_map: str | None = None,
    opacity: Opacity = "value",
    signed: bool | None = None,
    limits: tuple[float, float] | None = None,
    contour: float | None = None,
) -> Array:
    """Draw a map over its image.

    A map that is zero everywhere leaves the plain image: a wash of colour would read as evidence.

    Parameters
    ----------
    image : array-like of shape (H, W) or (C, H, W)
        C is 1 or 3; any range, see `displayed`.
    relevance : array-like of shape (H, W)
        Raw values; resize a coarse map with `xai_med.maps.resize` first.
    colour_map, signed, limits
        See `xai_med.render.colour.scale_for`.
    opacity : float or "value"
        ``"value"`` (default) makes it proportional to the magnitude, up to `HIGHEST_OPACITY`, so that pixels
        without evidence show the image itself. A number, from 0 (image only) to 1 (colours only), holds for
        all pixels; beware that the white middle of a signed scale then looks like an opacity of the tissue.
    contour : float, optional
        Outline the pixels whose positive value is at least this fraction of the largest magnitude on the
        scale. The outline is not drawn along the border of the image.

    Returns
    -------
    ndarray of shape (H, W, 3), float64
        Red, green, blue from 0 to 1.

    Raises
    ------
    ShapeError
        `image` and `relevance` differ in space, or are not two-dimensional.
    NonFiniteError
        NaN or infinity in either.
    """
    values = finite_floats(relevance, "relevance")
    scale = scale_for(values, colour_map=colour_map, limits=limits, signed=signed)
    return blend(displayed(image, space=2), values, scale=scale, opacity=opacity, contour=contour)


def displayed(image: ArrayLike, *, space: int) -> Array:
    """Scale an image for display by its own extremes, over all channels together.

    Parameters
    ----------
    image : array-like of shape (*space,) or (C, *space)
        C is 1 (grey) or 3 (red, green, blue).
    space : int
        Number of space axes.

    Returns
    -------
    ndarray of shape (*space, 3), float64
        From 0 to 1; mid-grey where the image is constant.
    """
    array = finite_floats(image, "image").astype(np.float64)
    if array.ndim == space:
        array = array[None]
    if array.ndim != space + 1 or array.shape[0] not in (1, 3) or array.size == 0:
        raise ShapeError(
            f"an image has shape (*space) or (C, *space) with {space} space axes and C = 1 or 3, "
            f"got {array.shape}; move the channels to the front, or pick the channels to show"
        )
    low, high = array.min(), array.max()
    grey = (array - low) / (high - low) if high > low else np.full_like(array, 0.5)
    return np.moveaxis(np.broadcast_to(grey, (3, *grey.shape[1:])), 0, -1)


def blend(
    background: Array,
    relevance: ArrayLike,
    *,
    scale: Scale,
    opacity: Opacity = "value",
    contour: float | None = None,
) -> Array:
    """Draw a map, on a given scale, over colours of shape (H, W, 3); otherwise as `overlay`."""
    values = finite_floats(relevance, "relevance").astype(np.float64)
    if background.ndim != 3 or background.shape != (*values.shape, 3):
        raise ShapeError(
            f"image and relevance differ in space: {background.shape[:-1]} and {values.shape}; "
            "resize the map with xai_med.maps.resize first"
        )
    share = _opacities(values, scale, opacity)
    if not values.any():
        return background.copy()
    blended = background * (1.0 - share) + scaled_colours(values, scale) * share
    return blended if contour is None else _outlined(blended, values >= _contour_level(contour, scale))


def _opacities(values: Array, scale: Scale, opacity: Opacity) -> Array:
    if opacity == "value":
        strength = np.minimum(np.abs(values) / scale.magnitude, 1.0)
        return np.asarray(HIGHEST_OPACITY * strength[..., None])
    if isinstance(opacity, str) or not 0.0 <= opacity <= 1.0:
        raise SettingError(f"opacity is a number from 0 to 1 or 'value', got {opacity!r}")
    return np.asarray(opacity, dtype=np.float64)


def _contour_level(fraction: float, scale: Scale) -> float:
    """Value at which the outline runs: a fraction, above 0 and up to 1, of the magnitude of the scale."""
    if not 0.0 < fraction <= 1.0:
        raise SettingError(f"contour is a fraction of the maximum, above 0 and up to 1, got {fraction!r}")
    return fraction * scale.magnitude


def _outlined(colours: Array, region: Array) -> Array:
    """Draw the innermost pixels of a region in the contour colour, and a black rim around them."""
    result = colours.copy()
    result[ndimage.binary_dilation(region) & ~region] = 0.0
    result[region & ~ndimage.binary_erosion(region, border_value=1)] = CONTOUR_COLOUR
    return result
