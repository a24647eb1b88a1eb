"""Follows places through the record of a forward pass, back from one operation to where the axes are known."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from xai_med.backend.network import Trace
from xai_med.backend.operations import Kind
from xai_med.backend.places import algebra
from xai_med.backend.places.algebra import MIXED, NOWHERE, Places
from xai_med.backend.places.equations import labels_of
from xai_med.backend.places.grids import grid_edges
from xai_med.backend.places.lattice import Lattice, find_lattice
from xai_med.backend.places.moves import Constant
from xai_med.backend.record import Node
from xai_med.backend.tensors import Array, Tensor, shape_of

_MARK = 2**40
"""Added to the cells that are sent through a move, so that they cannot be taken for a constant of the model."""


class Locator:
    """Finds the places of operations' results, each once.

    Parameters
    ----------
    trace : Trace
        Complete.
    batch : tensor of shape (N, C, *space)
        The images; only its device and its number of axes matter.
    begins : tuple of (Node, Places) or None
        One operation, and places of its result that are followed instead of those in the image, as the numbers of
        tokens are. All that does not come of it lies nowhere, and what several of its cells are mixed in is `MIXED`,
        also where they are only next to each other.
    """

    def __init__(self, trace: Trace, batch: Tensor, begins: tuple[Node, Places] | None = None) -> None:
        self._tensors = trace.tensors
        self._is_tensor = trace.is_tensor
        self._like = batch
        self._begin = None if begins is None else begins[0].index
        self.space = len(shape_of(batch)) - 2 if begins is None else begins[1].space
        self._found: dict[int, Places] = {} if begins is None else {begins[0].index: begins[1]}
        self._lost: set[int] = set()
        self._lattices: dict[int, Lattice | None] = {}

    def lattice(self, node: Node) -> Lattice | None:
        """The lattice of an operation's result, if it has one."""
        if node.index not in self._lattices:
            self._lattices[node.index] = find_lattice(self.places(node))
        return self._lattices[node.index]

    def places(self, node: Node) -> Places:
        """Places of an operation's result."""
        for needed in self._needed(node):
            self._found[needed.index] = self._placed(needed)
        return self._found[node.index]

    def leaves_places_out(self, node: Node) -> bool:
        """Whether an operation hands on nothing of the places in its input, such as the choice of a class token."""
        cells = self.places(node).cells
        if node.kind is Kind.ROUTING and node.index not in self._lost:
            return not (cells >= 0).any()
        return bool((cells == NOWHERE).all())

    def _needed(self, node: Node) -> Iterator[Node]:
        """What must be found before, in the order of execution."""
        needed: dict[int, Node] = {}
        pending = [node]
        while pending:
            current = pending.pop()
            if current.index not in needed and current.index not in self._found:
                needed[current.index] = current
                if not self._begins_anew(current):
                    pending.extend(current.parents)
        return iter(sorted(needed.values(), key=lambda found: found.index))

    def _begins_anew(self, node: Node) -> bool:
        """Whether the names of the axes say it all: the images, and every grid that a kernel has made of such a one.

        Patches that leave a rest of the image out are an exception.
        """
        if self._begin is not None:
            return node.index < self._begin
        return self._is_known(node) and (not node.parents or (node.kind in _WINDOWED and not _leaves_rest(node)))

    def _is_known(self, node: Node) -> bool:
        """Whether each axis has a name."""
        space = [str(axis) for axis in range(self.space)]
        return all(node.axes.count(name) == 1 for name in ("N", *space)) and "?" not in node.axes

    def _placed(self, node: Node) -> Places:
        if self._begin is not None and (self._begins_anew(node) or all(map(_is_nowhere, self._inputs(node)))):
            return algebra.everywhere(node.shape, NOWHERE, self.space)
        found = None
        if not self._begins_anew(node) and node.name not in _REORDERING and node.kind in _RULES:
            found = _RULES[node.kind](self, node)
        if found is None and self._begin is None and self._is_known(node):
            space = [node.axes.index(str(axis)) for axis in range(self.space)]
            return algebra.known(node.shape, node.axes.index("N"), space)
        if found is None:
            self._lost.add(node.index)
            return algebra.everywhere(node.shape, MIXED, self.space)
        return found

    def _inputs(self, node: Node) -> list[Places]:
        return [self._found[parent.index] for parent in node.parents]

    # ---- one rule for each way of treating places; None where they cannot be followed

    def elementwise(self, node: Node) -> Places | None:
        """Each cell of its own and of the same cell of others."""
        inputs = self._inputs(node)
        same = all(other.shape == inputs[0].shape for other in inputs)
        if not (same or node.kind in _BROADCAST) or not all(_fits(other.shape, node.shape) for other in inputs):
            return None
        found = inputs[0]
        for other in inputs[1:]:
            shape = np.broadcast_shapes(found.shape, other.shape)
            found = algebra.combined(found, other, shape, repeats=self._begin is None)
        return algebra.repeated(found, node.shape)

    def reshape(self, node: Node) -> Places | None:
        """Row-major, with as many values as before."""
        found = self._inputs(node)[0]
        return None if np.prod(node.shape) != np.prod(found.shape) else algebra.reshaped(found, node.shape)

    def permute(self, node: Node) -> Places | None:
        """Axes in another order."""
        order = node.details.order
        return None if order is None else algebra.permuted(self._inputs(node)[0], order)

    def linear(self, node: Node) -> Places | None:
        """Each cell from all along the last axis."""
        found = self._inputs(node)[0]
        if len(node.parents) > 1 or found.shape[:-1] != node.shape[:-1]:
            return None  # a computed weight, or the signal is the weight
        return algebra.repeated(algebra.merged(found, (len(node.shape) - 1,)), node.shape)

    def reduction(self, node: Node) -> Places | None:
        """One cell of all along some axes."""
        axes = node.details.reduced
        if axes is None or len(node.parents) > 1:
            return None
        found = algebra.merged(self._inputs(node)[0], axes)
        return found if node.details.keeps_axes else algebra.reshaped(found, node.shape)

    def product(self, node: Node) -> Places | None:
        """A matrix product or another sum of products."""
        equation = node.details.equation
        if equation is None or node.move is None:
            return None
        operands = list(node.move.operands())[: equation.split("->")[0].count(",") + 1]
        shapes = [item.shape for item in operands]
        written = labels_of(equation, [len(shape) for shape in shapes], len(node.shape))
        if written is None or not any(isinstance(item, Node) for item in operands):
            return None
        parts = [self._found[item.index] if isinstance(item, Node) else None for item in operands]
        return algebra.product(parts, *written, node.shape)

    def attention(self, node: Node) -> Places | None:
        """Each row belongs where its query does."""
        query = None if node.move is None else next(node.move.operands(), None)
        if not isinstance(query, Node) or node.output != 0:
            return None
        found = self._found[query.index]
        if found.shape[:-1] != node.shape[:-1]:
            return None
        return algebra.repeated(algebra.merged(found, (len(node.shape) - 1,)), node.shape)

    def window(self, node: Node) -> Places | None:
        """Convolutions, pools, interpolation: an even grid over the same extent as before."""
        found, details = self._inputs(node)[0], node.details
        if len(node.parents) > 1 or len(found.shape) != len(node.shape) or len(node.shape) < 3:
            return None
        kernel = shape_of(details.weight)[2:] if details.weight is not None else None
        found = found if kernel is None else algebra.merged(found, (1,))
        if kernel is not None and max(kernel) == 1 and found.shape[2:] == node.shape[2:]:
            return algebra.repeated(found, node.shape)
        if kernel is None and max(node.shape[2:]) == 1:
            return algebra.repeated(algebra.merged(found, tuple(range(2, len(node.shape)))), node.shape)
        if len(node.shape) != self.space + 2 or self._begin is not None:
            return None
        steps = [None] * self.space if kernel is None else _patch_sizes(kernel, found.shape, node.shape)
        sizes = kernel or (2,) * self.space  # pools are padded by one cell at most
        grid = grid_edges(found, [0 if step else size - 1 for step, size in zip(steps, sizes, strict=True)])
        if grid is None:
            return None
        images, edges = grid
        resized = [
            edge[: size * step + 1 : step]
            if step
            else np.interp(np.linspace(0, len(edge) - 1, size + 1), np.arange(len(edge)), edge)
            for edge, size, step in zip(edges, node.shape[2:], steps, strict=True)
        ]
        return algebra.on_edges(node.shape, 0, range(2, len(node.shape)), images, resized)

    def move(self, node: Node) -> Places | None:
        """Send the numbers of the cells through the call that moved the values."""
        inputs = self._inputs(node)
        is_copy = node.details.untouched == frozenset(range(len(node.shape)))
        if is_copy and all(found.shape == node.shape for found in inputs) and not _is_move(node):
            return self.elementwise(node)  # a copy, perhaps of another dtype, or by a mask of the signal's own
        if node.move is None or node.name in _NOT_REPLAYED:
            return None
        cells, boxes = algebra.joined(inputs)
        marked = {
            parent.index: self._native(np.broadcast_to(own, parent.shape) + _MARK)
            for parent, own in zip(node.parents, cells, strict=True)
        }

        def tensor_of(item: Node | Constant) -> Tensor:
            return marked[item.index] if isinstance(item, Node) else self._native(np.zeros(item.shape, int))

        try:
            result = node.move.replay(tensor_of)
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError):
            return None  # a move that the framework does not make of float64 numbers
        outputs = [
            each for each in (result if isinstance(result, list | tuple) else (result,)) if self._is_tensor(each)
        ]
        return self._read(outputs, node, boxes)

    def _read(self, outputs: list[Any], node: Node, boxes: Array) -> Places | None:
        if node.output >= len(outputs) or shape_of(outputs[node.output]) != node.shape:
            return None
        numbers = self._tensors.to_numpy(outputs[node.output]) - _MARK
        cells = np.where(numbers >= MIXED, numbers, NOWHERE)
        if len(node.shape) == 0 or (cells != np.rint(cells)).any() or (cells >= max(len(boxes), 1)).any():
            return None  # not a move after all
        return algebra.reshaped(Places(node.shape, cells.astype(np.int64), boxes), node.shape)

    def _native(self, array: Array) -> Tensor:
        whole = np.ascontiguousarray(array, dtype=np.int64)
        return self._tensors.cast(self._tensors.from_numpy(whole, self._like), "float64")


def _is_nowhere(places: Places) -> bool:
    return bool((places.cells == NOWHERE).all())


def _fits(shape: tuple[int, ...], result: tuple[int, ...]) -> bool:
    """Whether a tensor broadcasts to the result."""
    sizes = zip(reversed(shape), reversed(result), strict=False)
    return len(shape) <= len(result) and all(size in (1, full) for size, full in sizes)


def _patch_sizes(kernel: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...]) -> list[int | None]:
    """Sizes of kernels that lie side by side, as those of patches; None where they overlap or are padded."""
    sizes = zip(kernel, before[2:], after[2:], strict=True)
    return [size if size > 1 and new == old // size else None for size, old, new in sizes]


def _leaves_rest(node: Node) -> bool:
    """Whether a convolution's patches do not reach the end of its input."""
    if node.kind is not Kind.CONVOLUTION or len(node.shape) != len(node.parents[0].shape):
        return False
    before, after = node.parents[0].shape, node.shape
    steps = _patch_sizes(shape_of(node.details.weight)[2:], before, after)
    return any(step and step * new < old for step, old, new in zip(steps, before[2:], after[2:], strict=True))


def _is_move(node: Node) -> bool:
    """Whether values may have come from elsewhere though the axes are as before."""
    return node.move is not None and (node.move.writes_in_place or len(node.parents) > 1)


_NOT_REPLAYED = frozenset({"as_strided", "view_dtype", "_copy_to"})
"""Moves that depend on how the values lie in memory."""
_REORDERING = frozenset({"argmax", "argmin", "argsort"})
"""Steps whose cells are numbers of other cells."""

_BROADCAST = frozenset({Kind.ADD, Kind.MULTIPLY, Kind.DIVIDE})
_ELEMENTWISE = (
    Kind.BATCH_NORM,
    Kind.NORMALISATION,
    Kind.RELU,
    Kind.ACTIVATION,
    Kind.SIGMOID,
    Kind.SOFTMAX,
    Kind.ADD,
    Kind.MULTIPLY,
    Kind.DIVIDE,
    Kind.DROPOUT,
    Kind.STEP,
    Kind.DETACH,
)
_WINDOWED = (
    Kind.CONVOLUTION,
    Kind.TRANSPOSED_CONVOLUTION,
    Kind.MAX_POOL,
    Kind.AVERAGE_POOL,
    Kind.RESAMPLE,
)
_RULES: Mapping[Kind, Callable[[Locator, Node], Places | None]] = {
    **dict.fromkeys(_ELEMENTWISE, Locator.elementwise),
    **dict.fromkeys(_WINDOWED, Locator.window),
    **dict.fromkeys((Kind.MEAN, Kind.SUM, Kind.MAXIMUM), Locator.reduction),
    **dict.fromkeys((Kind.ROUTING, Kind.CONCATENATE), Locator.move),
    Kind.RESHAPE: Locator.reshape,
    Kind.PERMUTE: Locator.permute,
    Kind.LINEAR: Locator.linear,
    Kind.MATMUL: Locator.product,
    Kind.ATTENTION: Locator.attention,
}
