"""The record of a forward pass: a light graph of operations, without the tensors."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from xai_med.backend.operations import NO_DETAILS, Details, Kind

AxisNames = tuple[str, ...]
"""``"N"``, ``"C"``, then ``"0"``, ``"1"``, ``"2"`` for space, ``"?"`` for an axis of unknown meaning."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation that depends on the network's input.

    Parameters
    ----------
    kind, name
        As in `Call`.
    parents : tuple of Node
        Producers of its signals.
    shape : tuple of int
        Of its (first) output.
    axes : tuple of str
        Meaning of each axis of the output.
    index : int
        Position in the order of execution; the input is 0.
    is_differentiable : bool
        False where derivatives end: steps, detached copies, integer results.
    is_covered : bool
        Whether the rules in force have an answer for it.
    module : object or None
        The innermost module that was running.
    details : Details
        Weights and geometry, where later questions need them.
    """

    kind: Kind
    name: str
    parents: tuple["Node", ...]
    shape: tuple[int, ...]
    axes: AxisNames
    index: int
    is_differentiable: bool = True
    is_covered: bool = True
    module: Any = None
    details: Details = NO_DETAILS

    def ancestors(self, *, differentiable_only: bool = False) -> Iterator["Node"]:
        """All nodes that this one was computed from, itself included, latest first."""
        seen = {self.index: self}
        pending = [self]
        while pending:
            for parent in pending.pop().parents:
                if parent.index not in seen and (parent.is_differentiable or not differentiable_only):
                    seen[parent.index] = parent
                    pending.append(parent)
        yield from sorted(seen.values(), key=lambda node: -node.index)
