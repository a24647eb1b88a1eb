"""The part of a graph of derivatives that lies between an output and a leaf."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from xai_med.errors import GradientError

GraphNode: TypeAlias = Any
"""A node of PyTorch's graph of derivatives, ``torch.autograd.graph.Node``."""


@dataclass(frozen=True, eq=False)
class Edge:
    """One way on from a node.

    Parameters
    ----------
    position : int
        Which argument of the node's operation.
    node : GraphNode
        What produced that argument.
    output : int
        Which of its outputs it was.
    """

    position: int
    node: GraphNode
    output: int


@dataclass(frozen=True, eq=False)
class Ways:
    """All ways from an output to a leaf.

    Parameters
    ----------
    order : tuple of GraphNode
        Nodes on the way, each before those that it leads to.
    edges : dict of GraphNode to tuple of Edge
        Of each node, those that lead to the leaf.
    leaf : GraphNode
        Where they end.
    output : int
        Which output of the first node they begin at.
    """

    order: tuple[GraphNode, ...]
    edges: dict[GraphNode, tuple[Edge, ...]]
    leaf: GraphNode
    output: int


def find_ways(outputs: torch.Tensor, leaf: torch.Tensor) -> Ways | None:
    """Find every way from a tensor that has a graph to a leaf of it; None where there is none.

    Raises
    ------
    GradientError
        On the way lies an operation without a derivative, at which PyTorch would only warn.
    """
    end: GraphNode = None
    edges: dict[GraphNode, tuple[Edge, ...]] = {}
    finished: list[GraphNode] = []
    for node in _children_first(outputs.grad_fn):
        if node is leaf.grad_fn or getattr(node, "variable", None) is leaf:
            end = node
            edges[node] = ()
            finished.append(node)
            continue
        leading = tuple(
            Edge(position, child, output)
            for position, (child, output) in enumerate(node.next_functions)
            if child is not None and child in edges
        )
        if leading:
            _refuse_without_derivative(node)
            edges[node] = leading
            finished.append(node)
    if end is None or outputs.grad_fn not in edges:
        return None
    return Ways(tuple(reversed(finished)), edges, end, outputs.output_nr)


def kind_of(node: GraphNode) -> str:
    """Name of a node, without the number of its variant."""
    name: str = node.name()
    return name.rstrip("0123456789")


def _children_first(root: GraphNode) -> list[GraphNode]:
    """Every node of a graph, each after all those that it leads to."""
    seen: set[GraphNode] = set()
    order: list[GraphNode] = []
    pending: list[tuple[GraphNode, bool]] = [(root, False)]
    while pending:
        node, is_left = pending.pop()
        if is_left:
            order.append(node)
        elif node is not None and node not in seen:
            seen.add(node)
            pending.append((node, True))
            pending += [(child, False) for child, _ in node.next_functions if child is not None and child not in seen]
    return order


def _refuse_without_derivative(node: GraphNode) -> None:
    if node.name().endswith("WarnNotImplemented"):
        raise GradientError(
            "PyTorch has no derivative for an operation of the model, as of quantised layers; explain the "
            "model before it was quantised, or use method='cam', which needs no gradients"
        )
