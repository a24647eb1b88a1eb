"""A PyTorch model as a list of elementary operations, seen below its Python code.

The dispatcher records them (ATen operators, in-place writes and views undone), and not the functions that the library
intercepts; so what the library overlooks is here.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel


@dataclass(frozen=True, eq=False)
class Elementary:
    """The operations of one forward pass, in order, with their values.

    Parameters
    ----------
    image, logits : Node
        Where the graph begins and ends.
    nodes : tuple of Node
        What depends on the image.
    values : dict of Node to tensor or sequence
        Of every node.
    """

    image: Node
    logits: Node
    nodes: tuple[Node, ...]
    values: dict[Node, Any] = field(repr=False)


def elementary(model: Any, images: np.ndarray, pick: Any) -> Elementary:
    """Run a model and record its elementary operations.

    Parameters
    ----------
    model : Module
        In evaluation mode, of the dtype of `images`.
    images : ndarray of shape (N, C, *space)
        What it runs on.
    pick : callable
        Gives the logits in what the model returns.
    """
    batch = torch.from_numpy(np.array(images))
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _unfused_attention():
        functional = torch.func.functionalize(lambda x: pick(model(x)))
        graph = make_fx(functional, tracing_mode="real")(batch)
        recorded = _Recorded(graph)
        recorded.run(batch)
    image = next(node for node in graph.graph.nodes if node.op == "placeholder")
    end = next(node for node in graph.graph.nodes if node.op == "output").args[0]
    return Elementary(image, end, tuple(_dependent(graph, image)), recorded.values)


class _Recorded(Interpreter):
    """Keeps every value."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self.values: dict[Node, Any] = {}

    def run_node(self, node: Node) -> Any:
        """Run one operation."""
        self.values[node] = super().run_node(node)
        return self.values[node]


def name_of(node: Node) -> str:
    """Name of an operation in ATen, views and their copies alike; empty for the image and for constants."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return getattr(node.target, "__name__", "")
    name = str(schema.name).removeprefix("aten::")
    return name if name == "_to_copy" else name.removesuffix("_copy")


_BLIND = frozenset(
    "new_zeros new_ones new_full new_empty zeros_like ones_like full_like empty_like eq ne lt gt".split()
)
"""Operations that take a tensor's shape, or that no relevance can flow through."""


def _dependent(graph: GraphModule, image: Node) -> list[Node]:
    """Operations whose result depends on the image's values, in order."""
    found = {image: None}
    for node in graph.graph.nodes:
        takes = any(parent in found for parent in node.all_input_nodes)
        if node.op == "call_function" and takes and name_of(node) not in _BLIND:
            found[node] = None
    return list(found)


class _unfused_attention:  # noqa: N801
    """Keeps transformers of `torch.nn` from running as one fused operation."""

    def __enter__(self) -> None:
        self._was_enabled = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)

    def __exit__(self, *_: object) -> None:
        torch.backends.mha.set_fastpath_enabled(self._was_enabled)
