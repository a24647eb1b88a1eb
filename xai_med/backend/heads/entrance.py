"""Where space ends: the last tensor with the image's space axes on the way to the output."""

from collections.abc import Callable
from dataclasses import dataclass

from xai_med.backend.axes import image_axes
from xai_med.backend.operations import Kind
from xai_med.backend.pooling import reduces_space
from xai_med.backend.record import Node

_SAME_VALUES = frozenset({Kind.PERMUTE, Kind.DROPOUT})


@dataclass(frozen=True, eq=False)
class Ending:
    """What the model does from where space ends.

    Parameters
    ----------
    entering : tuple of Node
        Producers of the last tensors that have all the image's space axes, in any order; the latest first.
    after : tuple of Node
        Every operation between them and the logits, the latest first.
    """

    entering: tuple[Node, ...]
    after: tuple[Node, ...]


def where_space_ends(logits: Node, has_places: Callable[[Node], bool] | None = None) -> Ending:
    """Follow every way from the logits back to a tensor that has the image's space axes.

    Parameters
    ----------
    logits : Node
        The operation that produced the logits.
    has_places : callable or None
        Whether a tensor's cells lie in the image, one for each place; None goes by the names of the axes.
    """
    *_, network_input = logits.ancestors()
    space = len(network_input.shape) - 2
    after: dict[int, Node] = {}
    entering: dict[int, Node] = {}
    pending = {logits.index: logits}
    while pending:
        node = pending.pop(max(pending))
        after[node.index] = node
        for parent in node.parents:
            enters = _enters(parent, node, space) if has_places is None else _is_whole(parent, has_places)
            (entering if enters else pending)[parent.index] = parent
    return Ending(_latest_first(entering), _latest_first(after))


def at_common_source(ending: Ending, may_pass: Callable[[Node], bool]) -> Ending | None:
    """The same ending, seen from the one tensor from which all that enter come.

    Slices of one tensor that are pooled apart come from this tensor; so do the two ways of a block that does nothing
    but what is permitted.

    Parameters
    ----------
    ending : Ending
        With any number of tensors that enter.
    may_pass : callable
        Whether an operation may lie behind the tensor.

    Returns
    -------
    Ending or None
        With one tensor that enters; None where there is none.
    """
    entering = {node.index: node for node in ending.entering}
    after = {node.index: node for node in ending.after}
    while len(entering) > 1:
        latest = entering.pop(max(entering))
        space = len(latest.axes) - 2
        if not latest.parents or not may_pass(latest):
            return None
        if not all(_has_all_axes(parent, space) for parent in latest.parents):
            return None
        after[latest.index] = latest
        entering.update({parent.index: parent for parent in latest.parents})
    return Ending(_latest_first(entering), _latest_first(after)) if entering else None


def holds_values_of(node: Node, source: Node) -> bool:
    """Whether a tensor holds the values of another, at most in another order of axes."""
    while node is not source and node.kind in _SAME_VALUES and len(node.parents) == 1:
        node = node.parents[0]
    return node is source


def _is_whole(tensor: Node, has_places: Callable[[Node], bool]) -> bool:
    return not reduces_space(tensor) and has_places(tensor)


def _enters(tensor: Node, consumer: Node, space: int) -> bool:
    """Whether space is whole in a tensor and its consumer begins to take it away."""
    if not _has_all_axes(tensor, space) or reduces_space(tensor):
        return False
    return _cells(tensor) > 1 or reduces_space(consumer)


def _has_all_axes(node: Node, space: int) -> bool:
    return sorted(node.axes) == sorted(image_axes(space))


def _cells(node: Node) -> int:
    count = 1
    for name, size in zip(node.axes, node.shape, strict=True):
        count *= size if name.isdigit() else 1
    return count


def _latest_first(nodes: dict[int, Node]) -> tuple[Node, ...]:
    return tuple(nodes[index] for index in sorted(nodes, reverse=True))
