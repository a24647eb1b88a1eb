"""Where space ends: global pools and other operations that leave no space axes."""

from xai_med.backend.axes import image_axes
from xai_med.backend.operations import Details, Kind
from xai_med.backend.record import Node

_REDUCTIONS = frozenset({Kind.AVERAGE_POOL, Kind.MEAN, Kind.SUM, Kind.MAX_POOL, Kind.MAXIMUM})


def is_global_average(kind: Kind, details: Details, parent: Node, space: int) -> bool:
    """Whether an operation averages over all space axes of the network's input, whatever its form."""
    if kind is Kind.AVERAGE_POOL:
        return details.is_global
    if kind is not Kind.MEAN or details.reduced is None:
        return False
    return sorted(parent.axes[axis] for axis in details.reduced) == list(image_axes(space)[2:])


def has_space(node: Node, space: int) -> bool:
    """Whether an operation gives (N, C, *space) with more than one cell."""
    return len(node.shape) == space + 2 and max(node.shape[2:]) > 1


def leaves_space(node: Node) -> bool:
    """Whether an operation turns a tensor (N, C, *space) into one without space axes."""
    if not node.parents or len(node.parents[0].shape) < 3 or max(node.parents[0].shape[2:]) == 1:
        return False
    return len(node.shape) <= 2 or (len(node.shape) == len(node.parents[0].shape) and max(node.shape[2:]) == 1)


def reduces_space(node: Node) -> bool:
    """Whether an operation leaves one value of a whole space axis."""
    if node.kind not in _REDUCTIONS or not node.parents:
        return False
    source = node.parents[0]
    if node.details.is_global:
        return True
    if node.details.reduced is not None and any(source.axes[axis].isdigit() for axis in node.details.reduced):
        return True
    if len(source.shape) != len(node.shape):
        return False
    return any(new == 1 < old for old, new in zip(source.shape[2:], node.shape[2:], strict=True))


def before_partial_pools(node: Node) -> Node:
    """The producer of the features where a pool takes one space axis after the other."""
    while reduces_space(node):
        node = node.parents[0]
    return node
