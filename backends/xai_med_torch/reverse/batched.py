"""One reverse pass for many cotangents."""

from collections.abc import Sequence

import torch

from xai_med_torch.reverse.held import Held
from xai_med_torch.reverse.local import LOCAL, one_by_one
from xai_med_torch.reverse.ways import GraphNode, Ways, kind_of


def pull_back_together(ways: Ways, cotangents: torch.Tensor) -> torch.Tensor:
    """Pull cotangents back along all ways.

    Parameters
    ----------
    ways : Ways
        From an output to a leaf.
    cotangents : tensor of shape (K, *shape of the output)
        One for each class.

    Returns
    -------
    tensor of shape (K, *shape of the leaf)
    """
    arrived: dict[GraphNode, dict[int, Held]] = {ways.order[0]: {ways.output: Held(cotangents)}}
    for node in ways.order:
        given = arrived.pop(node)
        if node is ways.leaf:
            return given[0].value
        edges = ways.edges[node]
        pulled = _pulled(node, given, [edge.position for edge in edges])
        for edge, held in zip(edges, pulled, strict=True):
            there = arrived.setdefault(edge.node, {})
            like = edge.node._input_metadata[edge.output]
            part = _summed_to(held, tuple(like.shape))
            if part.value.dtype != like.dtype:  # operands of other dtypes were converted on the way forward
                part = Held(part.value.to(like.dtype), is_own=True)
            if edge.output in there:
                there[edge.output].add(part)
            else:
                there[edge.output] = part
    raise RuntimeError("the ways do not end at their leaf")


def _pulled(node: GraphNode, given: dict[int, Held], asked: Sequence[int]) -> list[Held]:
    name = kind_of(node)
    if name in LOCAL and given.keys() == {0}:
        return LOCAL[name](node, given[0], asked)
    if given.keys() == {0} and len(node._input_metadata) == 1:
        return one_by_one(node, given[0], asked)
    return _of_several(node, given, asked)


def _of_several(node: GraphNode, given: dict[int, Held], asked: Sequence[int]) -> list[Held]:
    """Ask a node of an operation with several outputs."""
    classes = len(next(iter(given.values())).value)
    outputs = range(len(node._input_metadata))
    answers = []
    for k in range(classes):
        answer = node(*(given[output].value[k] if output in given else None for output in outputs))
        answers.append(answer if isinstance(answer, tuple) else (answer,))
    return [Held(torch.stack([answer[position] for answer in answers]), is_own=True) for position in asked]


def _summed_to(held: Held, shape: tuple[int, ...]) -> Held:
    """Undo broadcasting of an operand of this shape."""
    given = tuple(held.value.shape[1:])
    if given == shape:
        return held
    extra = len(given) - len(shape)
    axes = [1 + axis for axis, size in enumerate(given) if axis < extra or (shape[axis - extra] == 1 and size != 1)]
    value = held.value.sum(axes, keepdim=True) if axes else held.value
    return Held(value.reshape(len(value), *shape), is_own=bool(axes))
