"""Where in the image the cells of a tensor lie: the algebra of places.

The cells of a feature map (N, C, *space) lie where the image's pixels do, each in its box. Tokens are such cells in
another order, with others between them that lie nowhere. What an operation does to values it does to their places:
it moves them, or makes one cell of several, which then lies in the box around them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xai_med.backend.tensors import Array

NOWHERE = -1
"""A cell that belongs to no place: a class or register token, padding."""
MIXED = -2
"""A cell made of the whole image, of several places that do not fit together, or by an operation not followed."""
_DECIMALS = 9  # boxes are shares of the image, far larger than this


@dataclass(frozen=True, eq=False)
class Places:
    """The place of each cell of a tensor.

    Parameters
    ----------
    shape : tuple of int
        Of the tensor.
    cells : ndarray of int64
        Row of `boxes`, `NOWHERE` or `MIXED`; of the tensor's rank, with size 1 along axes where all is the same.
    boxes : ndarray of shape (P, 1 + 2 S), float64
        Number of the image, then lower and upper edges along the S space axes as shares of the image.
    """

    shape: tuple[int, ...]
    cells: Array
    boxes: Array

    @property
    def space(self) -> int:
        """Number of space axes."""
        return int(self.boxes.shape[1] - 1) // 2

    def full(self) -> Array:
        """`cells` in the tensor's whole shape."""
        return np.broadcast_to(self.cells, self.shape)


def known(shape: Sequence[int], image: int, space_axes: Sequence[int]) -> Places:
    """Places of a tensor whose axes are known: `image` counts images, `space_axes` divide the image evenly."""
    sizes = [shape[axis] for axis in space_axes]
    edges = [np.arange(size + 1) / size for size in sizes]
    return on_edges(shape, image, space_axes, np.arange(shape[image]), edges)


def on_edges(
    shape: Sequence[int], image: int, space_axes: Sequence[int], images: Array, edges: Sequence[Array]
) -> Places:
    """Places of a tensor whose space axes have the given edges, of one more entry than cells."""
    numbers = np.unique(images)
    corners = [*np.meshgrid(*(edge[:-1] for edge in edges), indexing="ij")]
    corners += np.meshgrid(*(edge[1:] for edge in edges), indexing="ij")
    one = np.stack([corner.ravel() for corner in corners], axis=1)
    boxes = np.concatenate([np.insert(one, 0, number, axis=1) for number in numbers])
    spread = [shape[axis] if axis in space_axes else 1 for axis in range(len(shape))]
    cells = np.arange(len(one)).reshape([shape[axis] for axis in space_axes])
    cells = np.transpose(cells, np.argsort(space_axes)).reshape(spread)  # in the order of the tensor's axes
    offset = np.searchsorted(numbers, images) * len(one)
    along = [1] * len(shape)
    along[image] = -1
    return Places(tuple(shape), _compressed(cells + offset.reshape(along)), boxes)


def everywhere(shape: Sequence[int], cell: int, space: int) -> Places:
    """The same for all cells: `NOWHERE` or `MIXED`."""
    return Places(tuple(shape), np.full((1,) * len(shape), cell), np.zeros((0, 1 + 2 * space)))


def reshaped(places: Places, shape: Sequence[int]) -> Places:
    """Row-major, as every framework has it."""
    return Places(tuple(shape), _compressed(places.full().reshape(tuple(shape))), places.boxes)


def permuted(places: Places, order: Sequence[int]) -> Places:
    """Axes in another order."""
    return Places(tuple(places.shape[axis] for axis in order), np.transpose(places.cells, order), places.boxes)


def repeated(places: Places, shape: Sequence[int]) -> Places:
    """The same along new leading axes, and along axes of size 1 whatever their size becomes."""
    return Places(tuple(shape), _aligned(places.cells, len(shape)), places.boxes)


def joined(parts: Sequence[Places]) -> tuple[list[Array], Array]:
    """The cells of several tensors as rows of one table of boxes."""
    first = parts[0]
    if all(part.boxes is first.boxes for part in parts):
        return [part.cells for part in parts], first.boxes
    boxes, rows = _distinct(np.concatenate([part.boxes for part in parts]))
    cells, start = [], 0
    for part in parts:
        own = rows[start : start + len(part.boxes)]
        start += len(part.boxes)
        cells.append(_renumbered(part.cells, own))
    return cells, boxes


def merged(places: Places, axes: Sequence[int]) -> Places:
    """One cell of all along `axes`, which stay with size 1: the box around them.

    Cells that lie nowhere add nothing. What comes of several images, or of places that together span the whole image,
    is `MIXED`.
    """
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(places.shape))
    if all(places.cells.shape[axis] == 1 for axis in axes):
        return Places(shape, places.cells, places.boxes)
    moved = np.moveaxis(places.cells, axes, range(-len(axes), 0))
    cells = moved.reshape(*moved.shape[: moved.ndim - len(axes)], -1)
    is_present = (cells >= 0)[..., None]
    boxes = places.boxes[np.maximum(cells, 0)] if len(places.boxes) else np.zeros((*cells.shape, 1 + 2 * places.space))
    split = 1 + places.space
    low = np.where(is_present, boxes[..., :split], np.inf).min(axis=-2)
    high = np.where(is_present, np.concatenate([boxes[..., :1], boxes[..., split:]], axis=-1), -np.inf).max(axis=-2)
    is_mixed = (cells == MIXED).any(-1) | (low[..., 0] < high[..., 0]) | _spans_all(low, high, places.boxes)
    is_known = is_present[..., 0].any(-1) & ~is_mixed
    table, rows = _distinct(np.concatenate([low, high[..., 1:]], axis=-1)[is_known])
    result = np.where(is_mixed, MIXED, NOWHERE)
    result[is_known] = rows
    return Places(shape, _compressed(np.expand_dims(result, sorted(axes))), table)


def combined(first: Places, second: Places, shape: Sequence[int], *, repeats: bool = True) -> Places:
    """Places of an element-wise result of two signals, which must agree cell by cell.

    With `repeats`, a signal that is repeated over the places of the other, such as the gate of a squeeze-excite
    block, counts as a constant.
    """
    shape = tuple(shape)
    if repeats and _is_repeated(second, first, len(shape)):
        return repeated(first, shape)
    if repeats and _is_repeated(first, second, len(shape)):
        return repeated(second, shape)
    (one, other), boxes = joined([first, second])
    one, other = _aligned(one, len(shape)), _aligned(other, len(shape))
    cells = np.where(one == NOWHERE, other, one)
    agree = (one == other) | (one == NOWHERE) | (other == NOWHERE)
    return Places(shape, _compressed(np.where(agree, cells, MIXED)), boxes)


def product(parts: Sequence[Places | None], labels: Sequence[str], result: str, shape: Sequence[int]) -> Places:
    """Places of a sum of products, such as a matrix product.

    Parameters
    ----------
    parts : sequence of Places or None
        Of the factors; None for one that does not depend on the image.
    labels : sequence of str
        A letter for each axis of each factor.
    result : str
        The letters that remain; the factors are summed over the others.
    shape : sequence of int
        Of the result.

    Returns
    -------
    Places
        Those of the first factor that has any: in attention that of the query. A row that is a sum over the whole
        image is `MIXED`.
    """
    found = None
    for part, letters in zip(parts, labels, strict=True):
        if part is None:
            continue
        summed = [axis for axis, letter in enumerate(letters) if letter not in result]
        part = merged(part, summed)
        kept = [letter for letter in letters if letter in result]
        cells = part.cells.reshape([part.cells.shape[axis] for axis, letter in enumerate(letters) if letter in kept])
        cells = np.transpose(cells, [kept.index(letter) for letter in result if letter in kept])
        sizes = iter(cells.shape)
        cells = cells.reshape([next(sizes) if letter in kept else 1 for letter in result])
        if found is None or bool((found.cells == MIXED).all()):
            found = Places(tuple(shape), cells, part.boxes)
    if found is None:
        raise ValueError("a product without a signal has no places")
    return found


def _is_repeated(one: Places, over: Places, rank: int) -> bool:
    """Whether `one` has the same value at all the places of `over`."""
    cells, other = _aligned(one.cells, rank), _aligned(_without_images(over), rank)
    sizes = (1,) * (rank - len(one.shape)) + one.shape
    has_mixed = bool((cells == MIXED).any())
    varying = [axis for axis in range(rank) if other.shape[axis] > 1]
    return bool(varying) and all(sizes[axis] == 1 or (cells.shape[axis] == 1 and not has_mixed) for axis in varying)


def _without_images(places: Places) -> Array:
    """Cells numbered by their boxes alone, so that the axis of images counts as one along which all is the same."""
    _, rows = _distinct(places.boxes[:, 1:])
    return _compressed(_renumbered(places.cells, rows))


def _spans_all(low: Array, high: Array, boxes: Array) -> Array:
    """Whether boxes reach as far as all of the table together."""
    if len(boxes) < 2:
        return np.zeros(low.shape[:-1], dtype=bool)
    split = 1 + (boxes.shape[1] - 1) // 2
    tolerance = 10.0**-_DECIMALS
    reaches_low = low[..., 1:] <= boxes[:, 1:split].min(axis=0) + tolerance
    reaches_high = high[..., 1:] >= boxes[:, split:].max(axis=0) - tolerance
    return np.asarray((reaches_low & reaches_high).all(axis=-1))


def _aligned(cells: Array, rank: int) -> Array:
    return cells.reshape((1,) * (rank - cells.ndim) + cells.shape)


def _distinct(boxes: Array) -> tuple[Array, Array]:
    table, rows = np.unique(np.round(boxes, _DECIMALS), axis=0, return_inverse=True)
    return table, np.asarray(rows).reshape(-1)


def _renumbered(cells: Array, rows: Array) -> Array:
    return np.where(cells >= 0, rows[np.maximum(cells, 0)], cells) if len(rows) else cells


def _compressed(cells: Array) -> Array:
    """Size 1 along axes where all entries are the same."""
    for axis, size in enumerate(cells.shape):
        first = cells.take([0], axis=axis) if size else cells
        if size > 1 and bool((cells == first).all()):
            cells = first
    return np.ascontiguousarray(cells)
