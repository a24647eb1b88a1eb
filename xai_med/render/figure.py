"""Figures of several maps of one image, with captions and with colour bars of raw values."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from xai_med._optional import optional_import
from xai_med.backend.tensors import Array
from xai_med.errors import FileFormatError, SettingError, ShapeError
from xai_med.maps.finite import finite_floats
from xai_med.render.colour import Scale, colour_table, scale_for
from xai_med.render.overlay import Opacity, displayed
from xai_med.render.signal import signal_channels
from xai_med.render.text import LITERAL, wrapped
from xai_med.render.tiles import Look, image_tiles, signal_tiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TILE_INCHES = 2.7
"""Width of a tile without its colour bar."""


def picture(
    image: ArrayLike,
    maps: ArrayLike,
    *,
    captions: Sequence[str],
    colour_map: str | None = None,
    scale: Literal["each", "shared"] = "each",
    limits: tuple[float, float] | None = None,
    signed: bool | None = None,
    opacity: Opacity = "value",
    contour: float | None = None,
    columns: int | None = None,
    slice_axis: int = 0,
    slice_index: int | None = None,
    spacing_mm: Sequence[float] | None = None,
    title: str | None = None,
) -> "Figure":
    """Draw an image, then each of its maps over it, each with caption and colour bar.

    Parameters
    ----------
    image : array-like of shape (C, *space) or (*space,)
        One, two or three space axes. C is 1 or 3; any number of channels for signals.
    maps : array-like of shape (K, *space)
        Raw values, not normalised: colour bars show them.
    captions : sequence of str
        One per map, such as ``"pneumonia: 87.31 %"``; shown literally.
    colour_map, signed
        See `xai_med.render.colour.scale_for`; one choice for all maps: signed if any has negative values.
    scale : "each" or "shared"
        A scale for each map, or one for all, which makes maps comparable.
    limits : (float, float), optional
        A given scale for all maps. Values beyond it get the end colours, and the colour bar an arrow.
    opacity, contour
        See `xai_med.render.overlay.overlay`; not used for signals.
    columns : int, optional
        Tiles per row; by default at most 4, for signals 1.
    slice_axis, slice_index : int, optional
        Which slice of a volume; by default the most relevant of each map, named in its caption. The
        original is shown at the slice of the first map. Scales are those of the whole volume.
    spacing_mm : sequence of float, optional
        Distance of neighbouring pixels along each space axis; pixels are drawn in this proportion.
    title : str, optional
        Shown literally.

    Returns
    -------
    matplotlib.figure.Figure
        With its own canvas, unknown to pyplot.

    Raises
    ------
    ShapeError
        `image` and `maps` differ in space.
    SettingError
        A setting is out of its range.
    """
    pixels, values = _checked(image, maps, captions)
    space = values.ndim - 1
    if spacing_mm is not None and (len(spacing_mm) != space or not all(size > 0 for size in spacing_mm)):
        raise SettingError(f"spacing_mm needs {space} positive numbers, got {tuple(spacing_mm)}")
    look = Look(opacity, contour, slice_axis, slice_index, None if spacing_mm is None else tuple(spacing_mm))
    scales = _scales(values, kind=scale, colour_map=colour_map, limits=limits, signed=signed)
    count = 1 + len(values)
    if columns is None:
        columns = 1 if space == 1 else -(-count // -(-count // 4))  # even rows of at most 4
    if columns < 1:
        raise SettingError(f"columns must be at least 1, got {columns}")
    rows = -(-count // columns)
    figure = _empty_figure(rows=rows, columns=columns, values=values, look=look)
    if title is not None:
        figure.suptitle(wrapped(title, width=30 * columns), fontsize=11, **LITERAL)
    places = [divmod(number, columns) for number in range(count)]
    if space == 1:
        grid = figure.add_gridspec(2 * rows, columns, height_ratios=_signal_heights(rows, columns))
        pairs = [(grid[2 * row, column], grid[2 * row + 1, column]) for row, column in places]
        drawn = signal_tiles(figure, pairs, pixels, values, captions=captions, scales=scales)
    else:
        grid = figure.add_gridspec(rows, columns)
        cells = [grid[place] for place in places]
        drawn = image_tiles(figure, cells, pixels, values, captions=captions, scales=scales, look=look)
    _add_colour_bars(figure, drawn, values, scales=scales, shared=scale == "shared" or limits is not None)
    return figure


def save_figure(figure: "Figure", path: str | Path, *, dpi: int = 150) -> Path:
    """Write a figure to a file, replacing one of that name; the suffix names the format.

    Raises
    ------
    FileFormatError
        The suffix is none that matplotlib writes.
    """
    target = Path(path)
    known = figure.canvas.get_supported_filetypes()
    if target.suffix.removeprefix(".").lower() not in known:
        raise FileFormatError(f"{target.name!r} does not end in a known format; use one of {', '.join(sorted(known))}")
    figure.savefig(target, dpi=dpi)
    return target


def _checked(image: ArrayLike, maps: ArrayLike, captions: Sequence[str]) -> tuple[Array, Array]:
    values = finite_floats(maps, "maps").astype(np.float64)
    if values.ndim not in (2, 3, 4) or values.size == 0:
        raise ShapeError(f"maps have shape (K, *space) with one to three space axes, got {values.shape}")
    if isinstance(captions, str) or len(captions) != len(values):
        raise SettingError(f"{len(values)} captions are needed, one per map, got {captions!r}")
    space = values.ndim - 1
    pixels = signal_channels(image) if space == 1 else displayed(image, space=space)
    found = pixels.shape[1:] if space == 1 else pixels.shape[:-1]
    if found != values.shape[1:]:
        raise ShapeError(
            f"image and maps differ in space: {found} and {values.shape[1:]}; "
            "resize the maps with xai_med.maps.resize first"
        )
    return pixels, values


def _scales(
    values: Array,
    *,
    kind: str,
    colour_map: str | None,
    limits: tuple[float, float] | None,
    signed: bool | None,
) -> list[Scale]:
    if kind not in ("each", "shared"):
        raise SettingError(f"scale is 'each' or 'shared', got {kind!r}")
    common = scale_for(values, colour_map=colour_map, limits=limits, signed=signed)
    if kind == "shared" or limits is not None:
        return [common] * len(values)
    return [scale_for(one, colour_map=common.colour_map, signed=common.signed) for one in values]


def _signal_heights(rows: int, columns: int) -> tuple[float, ...]:
    """Heights of signals and of the curves below them; the original alone in its row has none below."""
    return (3.0, 2.0 if columns > 1 else 0.1, *(3.0, 2.0) * (rows - 1))


def _empty_figure(*, rows: int, columns: int, values: Array, look: Look) -> "Figure":
    if values.ndim == 2:
        width, height = max(7.0 / columns, 4.0), 2.4
    else:
        cut = look.slice_axis if values.ndim == 4 else None
        sizes = [size for number, size in enumerate(values.shape[1:]) if number != cut]
        ratio = sizes[0] * look.aspect(cut) / sizes[1]
        width, height = TILE_INCHES / max(1.0, ratio / 2), TILE_INCHES * min(max(ratio, 0.3), 2.0)
    figure: Figure = optional_import("matplotlib.figure", extra="viz").Figure(
        figsize=((width + 0.6) * columns, (height + 0.5) * rows + 0.4), layout="constrained"
    )
    optional_import("matplotlib.backends.backend_agg", extra="viz").FigureCanvasAgg(figure)
    return figure


def _add_colour_bars(
    figure: Any, drawn: Sequence[Any], values: Array, *, scales: Sequence[Scale], shared: bool
) -> None:
    if shared:
        _colour_bar(figure, list(drawn), values, scales[0])
        return
    for axes, one, scale in zip(drawn, values, scales, strict=True):
        if one.any():
            _colour_bar(figure, axes, one, scale)


def _colour_bar(figure: Any, axes: Any, values: Array, scale: Scale) -> None:
    """Draw a bar with the raw values at its ends and in the middle, arrows where values go beyond."""
    colors = optional_import("matplotlib.colors", extra="viz")
    cm = optional_import("matplotlib.cm", extra="viz")
    below, above = bool(values.min() < scale.low), bool(values.max() > scale.high)
    mappable = cm.ScalarMappable(
        colors.Normalize(scale.low, scale.high), colors.ListedColormap(colour_table(scale.colour_map))
    )
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    bar = figure.colorbar(mappable, ax=axes, fraction=0.05, pad=0.02, extend=extend[below, above])
    ticks = [scale.low, scale.low / 2 + scale.high / 2, scale.high]
    bar.set_ticks(ticks, labels=[f"{tick:.3g}" for tick in ticks])
    bar.ax.tick_params(labelsize=7)
