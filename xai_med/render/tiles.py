"""The tiles of a figure: the original, then each map over it, for images, volumes and signals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.render.colour import Scale
from xai_med.render.overlay import Opacity, blend
from xai_med.render.signal import draw_relevant_signal, draw_signal
from xai_med.render.slices import Slice, choose_slice
from xai_med.render.text import LITERAL, wrapped

FAINT = 0.1
"""Share of the scale below which colours can hardly be seen, so that the tile says so in words."""


@dataclass(frozen=True)
class Look:
    """How tiles are drawn; one for the whole figure."""

    opacity: Opacity
    contour: float | None
    slice_axis: int
    slice_index: int | None
    spacing_mm: tuple[float, ...] | None

    def aspect(self, axis: int | None) -> float:
        """Height of a pixel divided by its width; `axis` is the one that a slice removes."""
        if self.spacing_mm is None:
            return 1.0
        height, width = (size for number, size in enumerate(self.spacing_mm) if number != axis)
        return height / width


def image_tiles(
    figure: Any,
    cells: Sequence[Any],
    pixels: Array,
    values: Array,
    *,
    captions: Sequence[str],
    scales: Sequence[Scale],
    look: Look,
) -> list[Any]:
    """Draw the original and the overlays; returns the axes of the overlays."""
    planes = [_plane(one, look) for one in values]
    first = planes[0]
    original = pixels if first is None else first.of(pixels)
    _show(figure, cells[0], original, caption="original", plane=first, look=look)
    drawn = []
    for cell, one, caption, scale, plane in zip(cells[1:], values, captions, scales, planes, strict=True):
        background, relevance = (pixels, one) if plane is None else (plane.of(pixels), plane.of(one))
        tile = blend(background, relevance, scale=scale, opacity=look.opacity, contour=look.contour)
        axes = _show(figure, cell, tile, caption=caption, plane=plane, look=look)
        _note(axes, _remark(one, relevance, scale=scale))
        drawn.append(axes)
    return drawn


def _plane(values: Array, look: Look) -> Slice | None:
    return choose_slice(values, axis=look.slice_axis, index=look.slice_index) if values.ndim == 3 else None


def _show(figure: Any, cell: Any, tile: Array, *, caption: str, plane: Slice | None, look: Look) -> Any:
    axes = figure.add_subplot(cell)
    aspect = look.aspect(None if plane is None else plane.axis)
    axes.imshow(np.clip(tile, 0.0, 1.0), interpolation="nearest", aspect=aspect)  # 1 + 2e-16 would warn
    axes.set_axis_off()
    lines = [wrapped(caption, width=34)] + ([] if plane is None else [str(plane)])
    axes.set_title("\n".join(lines), fontsize=9, **LITERAL)
    return axes


def signal_tiles(
    figure: Any,
    cells: Sequence[Any],
    signal: Array,
    values: Array,
    *,
    captions: Sequence[str],
    scales: Sequence[Scale],
) -> list[Any]:
    """Draw the signal and, per map, the coloured signal above its relevance; returns the coloured axes.

    A cell is a pair of places, upper and lower, of one grid, so that samples stay below each other.
    """
    original = figure.add_subplot(cells[0][0])
    draw_signal(original, signal)
    original.set_title("original", fontsize=9)
    drawn = []
    for cell, one, caption, scale in zip(cells[1:], values, captions, scales, strict=True):
        upper = figure.add_subplot(cell[0])
        lower = figure.add_subplot(cell[1], sharex=upper)
        draw_relevant_signal(upper, lower, signal, one, scale=scale)
        upper.set_title(wrapped(caption, width=80), fontsize=9, **LITERAL)
        _note(lower, _remark(one, one, scale=scale))
        drawn.append(upper)
    return drawn


def _remark(whole: Array, shown: Array, *, scale: Scale) -> str:
    """Tell the reader what colours alone would not."""
    if not whole.any():
        return "no evidence (map is zero)"
    if whole.min() == whole.max():
        return f"uniform map ({whole.flat[0]:.3g} everywhere)"
    strongest = float(np.abs(shown).max())
    if strongest == 0:
        return "no evidence in this slice"
    return f"faint: at most {strongest:.3g}" if strongest < FAINT * scale.magnitude else ""


def _note(axes: Any, text: str) -> None:
    if text:
        box = {"facecolor": "black", "alpha": 0.7, "edgecolor": "none", "pad": 2.0}
        axes.text(0.5, 0.04, text, transform=axes.transAxes, ha="center", fontsize=8, color="white", bbox=box)
