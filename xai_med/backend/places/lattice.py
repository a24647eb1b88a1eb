"""A lattice of places among the cells of a tensor: how tokens, windows and channels-last features become maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xai_med.backend.places.algebra import Places
from xai_med.backend.tensors import Array, Tensor, Tensors, shape_of

_TOLERANCE = 1e-7


@dataclass(frozen=True, eq=False)
class Lattice:
    """Where a regular grid of places lies in a tensor, and where in the image.

    Parameters
    ----------
    shape : tuple of int
        Of the tensor.
    order : tuple of int
        Permutation that brings the axes along which places differ to the front; the others are channels.
    rows : tuple of int
        Along the front axes, taken as one: the grid's cells, image after image, each row-major in space.
    count : int
        Number of entries along the front axes, with those that are no places.
    images : int
        Number of images.
    sizes : tuple of int
        Of the grid.
    edges : tuple of (ndarray, ndarray)
        Lower and upper edge of each cell along each space axis, as shares of the image.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    rows: tuple[int, ...]
    count: int
    images: int
    sizes: tuple[int, ...]
    edges: tuple[tuple[Array, Array], ...]

    @property
    def is_even(self) -> bool:
        """Whether the cells divide the image evenly, as the cells of a feature map do."""
        return all(
            np.abs(np.concatenate(pair) - np.concatenate(_even(len(pair[0])))).max() < _TOLERANCE for pair in self.edges
        )

    def arranged(self, tensor: Tensor, tensors: Tensors) -> Tensor:
        """The places of a tensor as features (N, C, *sizes)."""
        flat = self._flat(tensor, tensors)
        channels = shape_of(flat)[1]
        rows = tensors.reshape(tensors.take(flat, self.rows, 0), (self.images, *self.sizes, channels))
        return tensors.transpose(rows, (0, len(self.sizes) + 1, *range(1, len(self.sizes) + 1)))

    def put_back(self, features: Tensor, tensor: Tensor, tensors: Tensors) -> Tensor:
        """The tensor with other values at its places; all that is no place stays."""
        flat = self._flat(tensor, tensors)
        last = len(self.sizes) + 1
        rows = tensors.reshape(tensors.transpose(features, (0, *range(2, last + 1), 1)), (-1, shape_of(features)[1]))
        chosen = np.arange(self.count)
        chosen[list(self.rows)] = self.count + np.arange(len(self.rows))
        both = tensors.take(tensors.concatenate([flat, rows], 0), chosen.tolist(), 0)
        moved = tensors.reshape(both, [self.shape[axis] for axis in self.order])
        return tensors.transpose(moved, [int(axis) for axis in np.argsort(self.order)])

    def placed(self, maps: Tensor, space: Sequence[int], tensors: Tensors) -> Tensor:
        """Maps (N, K, *sizes) of an uneven lattice at the image's own size, each cell where it lies."""
        result = maps
        for axis, ((low, high), size) in enumerate(zip(self.edges, space, strict=True)):
            centres, positions = (low + high) / 2, (np.arange(size) + 0.5) / size
            matrix = np.stack([np.interp(positions, centres, unit) for unit in np.eye(len(centres))], axis=1)
            letters = "abcde"[: len(self.sizes) + 2]
            source, target = letters[axis + 2], "z"
            native = tensors.from_numpy(matrix, result)
            result = tensors.einsum(f"{letters},{target}{source}->{letters.replace(source, target)}", result, native)
        return result

    def _flat(self, tensor: Tensor, tensors: Tensors) -> Tensor:
        return tensors.reshape(tensors.transpose(tensor, self.order), (self.count, -1))


def find_lattice(places: Places) -> Lattice | None:
    """The lattice of a tensor's places, None where they are none.

    Each place must occur once for each image. The places must be the evenly spaced cells of a grid, more than one,
    that do not overlap and leave less than one out on each side of the image.
    """
    front = [axis for axis, size in enumerate(places.cells.shape) if size > 1]
    flat = np.transpose(places.cells, [*front, *(a for a in range(places.cells.ndim) if a not in front)]).reshape(-1)
    rows = np.flatnonzero(flat >= 0)
    cells = flat[rows]
    if len(cells) < 2 or len(np.unique(cells)) < len(cells):
        return None
    boxes = places.boxes[cells]
    found = _grid(boxes, places.space)
    if found is None:
        return None
    position, edges = found
    sizes = tuple(len(low) for low, _ in edges)
    numbers, image = np.unique(boxes[:, 0], return_inverse=True)
    order = np.ravel_multi_index((image.reshape(-1), *position), (len(numbers), *sizes))
    is_complete = len(cells) == len(numbers) * int(np.prod(sizes)) and len(np.unique(order)) == len(cells)
    if not is_complete or not np.array_equal(numbers, np.arange(len(numbers))) or max(sizes) == 1:
        return None
    axes = (*front, *(axis for axis in range(len(places.shape)) if axis not in front))
    count = int(np.prod([places.shape[axis] for axis in front]))
    sorted_rows = tuple(int(row) for row in rows[np.argsort(order)])
    return Lattice(places.shape, axes, sorted_rows, count, len(numbers), sizes, edges)


def _grid(boxes: Array, space: int) -> tuple[list[Array], tuple[tuple[Array, Array], ...]] | None:
    """Position of each box along each axis, and the axes' edges; None where boxes are no grid over the image."""
    positions, edges = [], []
    for axis in range(space):
        low, high = boxes[:, 1 + axis], boxes[:, 1 + space + axis]
        lows, position = np.unique(low, return_inverse=True)
        position = position.reshape(-1)
        highs = np.zeros(len(lows))
        highs[position] = high
        pitch = np.diff(lows).mean() if len(lows) > 1 else highs[0] - lows[0]
        if (np.abs(highs[position] - high) > _TOLERANCE).any() or (highs[:-1] > lows[1:] + _TOLERANCE).any():
            return None
        if (np.abs(np.diff(lows) - pitch) > _TOLERANCE).any():
            return None
        if lows[0] > pitch - _TOLERANCE or highs[-1] < 1 - pitch + _TOLERANCE:
            return None
        positions.append(position)
        edges.append((lows, highs))
    return positions, tuple(edges)


def _even(size: int) -> tuple[Array, Array]:
    edges = np.arange(size + 1) / size
    return edges[:-1], edges[1:]
