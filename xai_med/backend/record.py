"""The record of a forward pass: a light graph of operations, without the tensors."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xai_med.backend.operations import NO_DETAILS, Details, Kind

if TYPE_CHECKING:
    from xai_med.backend.placed import Placed
    from xai_med.backend.places.moves import Move

AxisNames = tuple[str, ...]
"""``"N"``, ``"C"``, then ``"0"``, ``"1"``, ``"2"`` for space, ``"?"`` for an axis of unknown meaning."""


@dataclass(eq=False, slots=True)
class Node:
    """One operation that depends on the network's input; made for every operation, and so not frozen.

    Parameters
    ----------
    kind, name
        As in `Call`.
    parents : tuple of Node
        Producers of its signals.
    shape : tuple of int
        Of its output.
    axes : tuple of str
        Meaning of each axis of the output.
    index : int
        Position in the order of execution; the input is 0.
    is_differentiable : bool
        False where derivatives end: steps, detached copies, integer results.
    is_covered : bool
        Whether the rules in force have an answer for it.
    weighing : tuple of Node
        Parents that receive no relevance, as under the rules in force they only weigh the others.
    placed : Placed or None
        The rule by name or depth that it got, where there are such.
    depth : int or None
        Its number among the operations with weights, from 0 in the order of calls, where rules are in force.
    module : object or None
        The innermost module that was running.
    details : Details
        Weights and geometry, where later questions need them.
    output : int
        Which output of an operation with several, such as a split, each of which has a node of its own.
    outputs : int
        How many tensors the operation returned.
    move : Move or None
        What the call did with its arguments, where places are to be followed through it.
    """

    kind: Kind
    name: str
    parents: tuple["Node", ...] = field(repr=False)  # else as long as all paths through the model
    shape: tuple[int, ...]
    axes: AxisNames
    index: int
    is_differentiable: bool = True
    is_covered: bool = True
    weighing: tuple["Node", ...] = field(default=(), repr=False)
    placed: "Placed | None" = None
    depth: int | None = None
    module: Any = None
    details: Details = NO_DETAILS
    output: int = 0
    outputs: int = 1
    move: "Move | None" = field(default=None, repr=False)

    def ancestors(self, *, differentiable_only: bool = False, carrying_only: bool = False) -> Iterator["Node"]:
        """All nodes that this one was computed from, itself included, latest first.

        Parameters
        ----------
        differentiable_only : bool
            Leave out what derivatives do not reach.
        carrying_only : bool
            Leave out what was reached only as a factor that weighs.
        """
        seen = {self.index: self}
        pending = [self]
        while pending:
            node = pending.pop()
            for parent in node.parents:
                if carrying_only and any(parent is other for other in node.weighing):
                    continue
                if parent.index not in seen and (parent.is_differentiable or not differentiable_only):
                    seen[parent.index] = parent
                    pending.append(parent)
        yield from sorted(seen.values(), key=lambda node: -node.index)


class LateNode(Node):
    """A node whose details are read when they are asked for, which of most nodes they never are.

    Parameters
    ----------
    details : callable or Details
        Gives the details.
    """

    __slots__ = ("_later",)
    _later: Details | Callable[[], Details]

    @property
    def details(self) -> Details:
        """Weights and geometry."""
        if not isinstance(self._later, Details):
            self._later = self._later()
        return self._later

    @details.setter
    def details(self, value: Details | Callable[[], Details]) -> None:
        self._later = value
