"""Single tokens, numbered where they are assembled and followed from there on."""

from dataclasses import dataclass

import numpy as np

from xai_med.backend.operations import Kind
from xai_med.backend.places.algebra import MIXED, Places
from xai_med.backend.places.lattice import Lattice
from xai_med.backend.places.locate import Locator
from xai_med.backend.record import Node
from xai_med.backend.tensors import Array

_FOR_EACH_TOKEN = frozenset(
    {
        Kind.LINEAR,
        Kind.NORMALISATION,
        Kind.BATCH_NORM,
        Kind.ACTIVATION,
        Kind.RELU,
        Kind.SIGMOID,
        Kind.DROPOUT,
        Kind.ADD,
        Kind.MULTIPLY,
        Kind.DIVIDE,
        Kind.RESHAPE,
        Kind.PERMUTE,
        Kind.ROUTING,
    }
)


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of a transformer, numbered from 0 in each image.

    Parameters
    ----------
    node : Node
        The operation that assembled them.
    count : int
        Of each image, with class tokens and registers.
    lattice : Lattice
        Where those that lie in the image lie.
    grid : tuple of int
        Number of the token in each cell of the lattice, row-major.
    places : Places
        Of the operation's result, by number instead of by place in the image: (image, number, number + 1).
    """

    node: Node
    count: int
    lattice: Lattice
    grid: tuple[int, ...]
    places: Places

    def numbers(self, places: Places) -> Array:
        """Cells of a result by ``image * count + number``, as far as each is one token; -1 otherwise."""
        if not len(places.boxes):
            return np.full(places.cells.shape, -1)
        boxes = np.rint(places.boxes[np.maximum(places.cells, 0)]).astype(np.int64)
        is_one = (places.cells >= 0) & (boxes[..., 2] - boxes[..., 1] == 1)
        return np.where(is_one, boxes[..., 0] * self.count + boxes[..., 1], -1)


def is_mixed(places: Places) -> bool:
    """Whether cells are made of several tokens, or could not be followed."""
    return bool((places.cells == MIXED).any())


def numbered(source: Node, locator: Locator) -> Tokens | None:
    """Number the tokens that an attention begins from; None where they are no grid over the image.

    Parameters
    ----------
    source : Node
        The last operation of which queries, keys and values come.
    locator : Locator
        Of places in the image.
    """
    node = _assembled(source, locator)
    lattice = locator.lattice(node)
    if lattice is None:
        return None
    cells = locator.places(node).cells
    front = [axis for axis, size in enumerate(cells.shape) if size > 1]
    sizes = [node.shape[axis] for axis in front]
    rows = np.asarray(lattice.rows).reshape(lattice.images, -1)
    along = np.asarray(np.unravel_index(rows, sizes))
    over = [axis for axis in range(len(front)) if (along[axis] != along[axis][:, :1]).any()]
    image, token = (_raveled(sizes, axes) for axes in ([a for a in range(len(front)) if a not in over], over))
    count = int(np.prod([sizes[axis] for axis in over]))
    grid = token.reshape(-1)[rows]
    is_apart = (image.reshape(-1)[rows] == np.arange(lattice.images)[:, None]).all()
    if image.max() + 1 != lattice.images or not is_apart or (grid != grid[:1]).any():
        return None
    numbers = (image * count + token).reshape([node.shape[axis] if axis in front else 1 for axis in range(cells.ndim)])
    each = np.stack(np.divmod(np.arange(lattice.images * count), count), axis=1)
    boxes = np.concatenate([each, each[:, 1:] + 1], axis=1).astype(np.float64)
    return Tokens(node, count, lattice, tuple(int(n) for n in grid[0]), Places(node.shape, numbers, boxes))


def _assembled(node: Node, locator: Locator) -> Node:
    """The operation after which nothing joins or leaves the tokens of a later result."""
    while node.kind in _FOR_EACH_TOKEN and len(node.parents) == 1:
        before, after = locator.lattice(node.parents[0]), locator.lattice(node)
        if before is None or after is None or before.count != after.count:
            break
        node = node.parents[0]
    return node


def _raveled(sizes: list[int], axes: list[int]) -> Array:
    """Row-major number along some axes, in the shape of all."""
    index = np.indices(sizes)
    if not axes:
        return np.zeros(sizes, dtype=np.int64)
    return np.asarray(np.ravel_multi_index([index[axis] for axis in axes], [sizes[axis] for axis in axes]))
