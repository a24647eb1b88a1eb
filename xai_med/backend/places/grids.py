"""The even or stretched grid that the cells of a feature map make, with the padding around it."""

from collections.abc import Sequence

import numpy as np

from xai_med.backend.places.algebra import MIXED, Places
from xai_med.backend.tensors import Array

_TOLERANCE = 1e-9


def grid_edges(places: Places, halo: Sequence[int]) -> tuple[Array, list[Array]] | None:
    """Number of the image by row, and the edges along each space axis, of a tensor (N, C, *space).

    Padding by at most the `halo` of a kernel leaves the extent as it is, as a convolution that pads by itself does;
    any more continues the grid beyond the image. None where the cells are not such a grid.
    """
    cells = places.cells
    if (cells == MIXED).any() or not (cells >= 0).any() or cells.shape[1] > 1:
        return None
    full = np.broadcast_to(cells[:, 0], (places.shape[0], *places.shape[2:]))
    boxes = np.where((full >= 0)[..., None], places.boxes[np.maximum(full, 0)], np.nan)
    images = _agreed(boxes[..., 0], 0)
    edges = []
    for axis in range(places.space):
        low, high = (_agreed(boxes[..., part], 1 + axis) for part in (1 + axis, 1 + places.space + axis))
        if low is None or high is None:
            return None
        edges.append(_continued(low, high, halo[axis]))
    if images is None or np.isnan(images).any() or any(edge is None for edge in edges):
        return None
    crossed = np.isnan(boxes[..., 1])
    lines = [
        crossed.all(axis=tuple(other for other in range(crossed.ndim) if other != axis), keepdims=True)
        for axis in range(crossed.ndim)
    ]
    if (np.logical_or.reduce(np.broadcast_arrays(*lines)) != crossed).any():
        return None  # holes
    return images, [edge for edge in edges if edge is not None]


def _agreed(values: Array, axis: int) -> Array | None:
    """The one value at each position along an axis, NaN where there is none; None where they differ."""
    lines = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    present = ~np.isnan(lines)
    low = np.where(present, lines, np.inf).min(axis=1)
    high = np.where(present, lines, -np.inf).max(axis=1)
    if (high - low > _TOLERANCE).any():
        return None
    return np.where(present.any(axis=1), low, np.nan)


def _continued(low: Array, high: Array, halo: int) -> Array | None:
    """Edges of touching cells, continued evenly where there are none; None where cells do not touch."""
    inside = np.flatnonzero(~np.isnan(low))
    if not len(inside) or (np.diff(inside) != 1).any():
        return None
    first, last = inside[0], inside[-1]
    if (np.abs(high[first:last] - low[first + 1 : last + 1]) > _TOLERANCE).any():
        return None
    within = np.append(low[first : last + 1], high[last])
    if len(inside) < len(low) <= len(inside) + halo:
        return np.asarray(np.interp(np.linspace(0, len(inside), len(low) + 1), np.arange(len(inside) + 1), within))
    step = (high[last] - low[first]) / len(inside)
    before = low[first] - step * np.arange(first, 0, -1)
    after = high[last] + step * np.arange(1, len(low) - last)
    return np.concatenate([before, within, after])
