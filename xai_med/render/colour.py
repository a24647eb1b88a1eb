"""Values to colours: always on floats, monotonic in the value, rounded to bytes once at the very end."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from xai_med._optional import optional_import
from xai_med.backend.tensors import Array
from xai_med.errors import NonFiniteError, SettingError, ShapeError, UnknownNameError
from xai_med.maps.finite import finite_floats

UNSIGNED = "inferno"
"""Default for maps without negative values: lightness rises with the value."""

SIGNED = "RdBu_r"
"""Default for signed maps: zero is white in the middle, positive red, negative blue."""

OPENCV_JET = "opencv_jet"
"""OpenCV's JET, of the published montages; lightness is not monotonic, so not a default."""

DIVERGING = frozenset(
    {
        "BrBG",
        "PRGn",
        "PiYG",
        "PuOr",
        "RdBu",
        "RdGy",
        "RdYlBu",
        "RdYlGn",
        "Spectral",
        "bwr",
        "coolwarm",
        "seismic",
    }
)
"""Colour maps of matplotlib whose middle means zero; also with the suffix ``_r``."""


@dataclass(frozen=True)
class Scale:
    """Which value gets which colour: `low` the first of the colour map, `high` the last, linear between."""

    colour_map: str
    low: float
    high: float
    signed: bool

    def __post_init__(self) -> None:
        if not np.isfinite([self.low, self.high, self.high - self.low]).all():
            raise NonFiniteError(f"limits must be finite, got ({self.low}, {self.high}); scale the values first")
        if not self.low < self.high:
            raise SettingError(f"limits must be (low, high) with low < high, got ({self.low}, {self.high})")
        if self.signed and self.low != -self.high:
            m = max(abs(self.low), abs(self.high))
            raise SettingError(
                f"a signed scale has zero in the middle, got limits ({self.low:g}, {self.high:g}); "
                f"use ({-m:g}, {m:g}), or an unsigned colour map with signed=False"
            )

    @property
    def magnitude(self) -> float:
        """The largest magnitude that the scale tells apart."""
        return max(abs(self.low), abs(self.high))


def scale_for(
    values: ArrayLike,
    *,
    colour_map: str | None = None,
    limits: tuple[float, float] | None = None,
    signed: bool | None = None,
) -> Scale:
    """Choose the scale on which values are drawn.

    Parameters
    ----------
    values : array-like
        Every value that the scale must hold, such as one map, or all maps that share it.
    colour_map : str, optional
        ``"opencv_jet"`` or a name of matplotlib; by default `SIGNED` or `UNSIGNED`.
    limits : (float, float), optional
        Values of the first and the last colour. By default (-m, m) with m the largest magnitude for a
        signed scale, else (min(0, smallest), max(0, largest)): zero is always on the scale. Values beyond
        given limits get the end colours.
    signed : bool, optional
        By default True if the colour map is diverging, the lower limit negative, or, without limits, any
        value negative.

    Raises
    ------
    SettingError
        Limits are not in order, or not symmetric for a signed scale.
    UnknownNameError
        There is no such colour map.
    """
    array = finite_floats(values, "values")
    if array.size == 0:
        raise ShapeError(f"there is nothing to draw in an array of shape {array.shape}")
    smallest, largest = float(array.min()), float(array.max())
    if signed is None:
        lowest = smallest if limits is None else limits[0]
        signed = lowest < 0 or (colour_map is not None and colour_map.removesuffix("_r") in DIVERGING)
    name = colour_map or (SIGNED if signed else UNSIGNED)
    colour_table(name)
    if limits is not None:
        return Scale(name, float(limits[0]), float(limits[1]), signed)
    magnitude = max(-smallest, largest) or 1.0  # an all-zero map gets the colour of zero
    if signed:
        return Scale(name, -magnitude, magnitude, signed)
    if smallest == largest == 0:
        return Scale(name, 0.0, 1.0, signed)
    return Scale(name, min(0.0, smallest), max(0.0, largest), signed)


def colourise(
    values: ArrayLike,
    *,
    colour_map: str | None = None,
    limits: tuple[float, float] | None = None,
    signed: bool | None = None,
) -> Array:
    """Turn values into colours on the scale of `scale_for`, which explains the parameters.

    Returns
    -------
    ndarray of shape (*values.shape, 3), float64
        Red, green, blue from 0 to 1.
    """
    return scaled_colours(values, scale_for(values, colour_map=colour_map, limits=limits, signed=signed))


def scaled_colours(values: ArrayLike, scale: Scale) -> Array:
    """Turn values into colours on a given scale, interpolating its table linearly.

    Returns
    -------
    ndarray of shape (*values.shape, 3), float64
        The smallest and the largest value of the scale get exactly the first and the last colour.
    """
    table = colour_table(scale.colour_map)
    array = finite_floats(values, "values").astype(np.float64)
    last = len(table) - 1
    position = np.clip((array - scale.low) / (scale.high - scale.low), 0.0, 1.0) * last
    below = np.minimum(position.astype(np.int64), last - 1)
    fraction = (position - below)[..., None]
    colours: Array = table[below] * (1.0 - fraction) + table[below + 1] * fraction
    return colours


@lru_cache(maxsize=32)
def colour_table(name: str) -> Array:
    """Look up a colour map as a table of colours, coldest first.

    Parameters
    ----------
    name : str
        ``"opencv_jet"``, or a name of matplotlib, which is imported then.

    Returns
    -------
    ndarray of shape (n, 3), float64, read-only

    Raises
    ------
    UnknownNameError
        There is no such colour map.
    """
    if name == OPENCV_JET:
        table = _opencv_jet()
    else:
        known = optional_import("matplotlib", extra="viz").colormaps
        if name not in known:
            raise UnknownNameError(
                f"there is no colour map {name!r}; take 'inferno', 'cividis', 'RdBu_r', {OPENCV_JET!r} "
                "or another name of matplotlib"
            )
        table = np.asarray(known[name](np.arange(known[name].N)), dtype=np.float64)[:, :3]
    table.setflags(write=False)
    return table


def _opencv_jet() -> Array:
    """Compute the closed form, within one grey level of OpenCV's table (measured)."""
    ramp = 4.0 * np.arange(256)[:, None] / 255.0
    table: Array = np.clip(1.5 - np.abs(ramp - np.array([3.0, 2.0, 1.0])), 0.0, 1.0)
    return table


def to_bytes(rgb: ArrayLike) -> Array:
    """Round colours from 0..1 to uint8 0..255, to nearest; the only place where floats become bytes.

    Raises
    ------
    SettingError
        A value lies outside 0..1.
    """
    levels = np.rint(finite_floats(rgb, "rgb").astype(np.float64) * 255.0)
    if levels.size and (levels.min() < 0 or levels.max() > 255):
        raise SettingError(
            f"colours go from 0 to 1, got {levels.min() / 255:.4g} to {levels.max() / 255:.4g}; "
            "values are turned into colours by colourise"
        )
    return levels.astype(np.uint8)
