"""What was seen of a steady part of a model, once: its operations, to be taken into later records as they are."""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from xai_med.backend.pooling import has_space
from xai_med.backend.record import AxisNames, Node
from xai_med.backend.tracing.steady import Proof, Vocabulary, prove


@dataclass(frozen=True, eq=False)
class Block:
    """The operations of one module, from the one tensor that it read to the one that it gave.

    Parameters
    ----------
    proof : Proof
        That they are the same each time.
    shape, axes : tuple
        Of what it read.
    dtype : str
        Of the same.
    nodes : tuple of Node
        In order, the last one having made what it gave.
    entry : Node
        Made what it read, as recorded.
    before : int
        Index of the last operation before it.
    length : int
        How many indices it takes.
    own : frozenset of int
        Positions of nodes that the module itself ran, not a part of it. Their module is left out, so that nothing here
        keeps it alive.
    """

    proof: Proof
    shape: tuple[int, ...]
    axes: AxisNames
    dtype: str
    nodes: tuple[Node, ...]
    entry: Node
    before: int
    length: int
    own: frozenset[int]

    def fits(self, node: Node, dtype: str) -> bool:
        """Whether a tensor is like the one that was read."""
        return node.shape == self.shape and node.axes == self.axes and dtype == self.dtype

    def grafted(self, entry: Node, *, before: int, module: Any) -> Node:
        """Copies of the nodes that begin at another entry; returns the last."""
        made: dict[int, Node] = {id(self.entry): entry}
        shift = before - self.before
        copy = entry
        for position, node in enumerate(self.nodes):
            copy = _copied(node)
            copy.parents = tuple(made[id(parent)] for parent in node.parents)
            copy.index = node.index + shift
            if node.move is not None:
                copy.move = replace(
                    node.move,
                    args=tuple(_renamed(value, made) for value in node.move.args),
                    kwargs={name: _renamed(value, made) for name, value in node.move.kwargs.items()},
                )
            if position in self.own:
                copy.module = module
            made[id(node)] = copy
        return copy


def block_of(
    module: Any, proof: Proof, output: Node, entry: Node, *, dtype: str, before: int, count: int, space: int
) -> Block | None:
    """What was recorded of a module as a block; None where more than one tensor went in, or space was left.

    Parameters
    ----------
    module : object
        That ran.
    proof : Proof
        Of it.
    output, entry : Node
        Of what it gave and read.
    dtype : str
        Of what it read.
    before, count : int
        Index of the last operation before it, and of its own last one.
    space : int
        Number of space axes of the network's input.
    """
    nodes = [node for node in output.ancestors() if node.index > before][::-1]
    inside = {id(node) for node in nodes}
    if not nodes or nodes[-1] is not output or not has_space(entry, space):
        return None
    for node in nodes:
        if not (has_space(node, space) and node.is_differentiable and node.is_covered and not node.weighing):
            return None
        if not all(id(parent) in inside or parent is entry for parent in node.parents):
            return None
    own = frozenset(position for position, node in enumerate(nodes) if node.module is module)
    kept = [_copied(node) for node in nodes]
    renamed = dict(zip(map(id, nodes), kept, strict=True))
    alone = Node(entry.kind, entry.name, (), entry.shape, entry.axes, entry.index)  # nothing of what came before
    renamed[id(entry)] = alone
    for position, copy in enumerate(kept):
        copy.parents = tuple(renamed[id(parent)] for parent in copy.parents)
        if copy.move is not None:
            copy.move = replace(
                copy.move,
                args=tuple(_renamed(value, renamed) for value in copy.move.args),
                kwargs={name: _renamed(value, renamed) for name, value in copy.move.kwargs.items()},
            )
        if position in own:
            copy.module = None
    return Block(proof, entry.shape, entry.axes, dtype, tuple(kept), alone, before, count - before, own)


_SLOTS = ("kind", "name", "parents", "shape", "axes", "index", "is_differentiable", "is_covered", "weighing")
_MORE = ("module", "output", "outputs", "move")


def _copied(node: Node) -> Node:
    copy = object.__new__(type(node))
    for name in _SLOTS:
        setattr(copy, name, getattr(node, name))
    for name in _MORE:
        setattr(copy, name, getattr(node, name))
    later = getattr(node, "_later", None)
    copy.details = node.details if later is None else later
    return copy


def _renamed(value: Any, made: Mapping[int, Node]) -> Any:
    if isinstance(value, Node):
        return made[id(value)]
    return type(value)(_renamed(each, made) for each in value) if type(value) in (list, tuple) else value


class Blocks:
    """Proofs and blocks of modules, for as long as the modules live.

    Parameters
    ----------
    vocabulary : Vocabulary
        Of the framework.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._proofs: weakref.WeakKeyDictionary[Any, Proof | None] = weakref.WeakKeyDictionary()
        self._blocks: weakref.WeakKeyDictionary[Any, dict[tuple[Any, ...], Block]] = weakref.WeakKeyDictionary()
        self._hopeless: weakref.WeakSet[Any] = weakref.WeakSet()

    def proof(self, module: Any) -> Proof | None:
        """Why a module is steady; None where that is not known, or it gave no block before."""
        if module in self._hopeless:
            return None
        known = self._proofs.get(module)
        if known is None or not known.holds(self.vocabulary):
            known = prove(module, self.vocabulary)
            if known is None:
                self._hopeless.add(module)
                return None
            self._proofs[module] = known
            self._blocks.pop(module, None)
        return known

    def keep(self, module: Any, block: Block | None) -> None:
        """Remember a block; a module that gives none is not asked again, but its parts are."""
        if block is None:
            self._hopeless.add(module)
        else:
            self._blocks.setdefault(module, {})[block.shape, block.axes, block.dtype] = block

    def find(self, module: Any, node: Node, dtype: str) -> Block | None:
        """The block of a module that read a tensor like this before, if it is as it was."""
        known = self._blocks.get(module)
        block = None if known is None else known.get((node.shape, node.axes, dtype))
        if block is None or not block.proof.holds(self.vocabulary):
            return None
        return block

    @property
    def classes(self) -> frozenset[type]:
        """Of modules that gave a block."""
        return frozenset(map(type, self._blocks))
