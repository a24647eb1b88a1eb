"""A traced forward pass, as the adapters for eager frameworks give it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from xai_med.backend.framework import Framework
from xai_med.backend.places.lattice import Lattice
from xai_med.backend.record import Node
from xai_med.backend.tensors import Tensor, Tensors
from xai_med.backend.tracing.tracer import Tracer
from xai_med.errors import GradientError

CUT = (
    "the explained score does not depend on the layer or input through any differentiable path: it was cut by "
    "detach, no_grad, rounding or an integer operation, or the layer is not on the way to the output"
)
"""What `GradientError` says where nothing can be pulled back."""


class RecordedTrace:
    """Implements `Trace` on a tracer that has followed the model.

    Parameters
    ----------
    framework : Framework
        Of the model.
    tracer : Tracer
        After the forward pass.
    output : object
        What the model returned.
    name_of : callable
        Gives the dotted name of a module.
    was_training : bool
        Whether a part of the model was in training mode.
    """

    def __init__(
        self,
        framework: Framework,
        tracer: Tracer,
        output: Any,
        name_of: Callable[[Any], str],
        *,
        was_training: bool,
    ) -> None:
        self._framework = framework
        self._tracer = tracer
        self._name_of = name_of
        self.output = output
        self.was_training = was_training

    @property
    def tensors(self) -> Tensors:
        """The framework's tensor operations."""
        return self._framework.tensors

    @property
    def captured(self) -> Tensor | None:
        """The tensor at which differentiation begins."""
        return self._tracer.capture.tensor

    @property
    def captured_node(self) -> Node | None:
        """The operation that produced the captured tensor."""
        return self._tracer.capture.node

    @property
    def lattice(self) -> Lattice | None:
        """Where in the image the cells of the captured tensor lie; None where they divide it evenly."""
        return self._tracer.capture.lattice

    @property
    def replaced(self) -> Tensor | None:
        """The model's own tensor where it went on from another."""
        return self._tracer.capture.replaced

    @property
    def late_producer(self) -> int | None:
        """Index of the operation to capture after in a second pass, where one pass did not suffice."""
        return self._tracer.capture.late_producer

    @property
    def pooled(self) -> tuple[Tensor, Node] | None:
        """The tensor that entered the last global average pool, and the pool's node."""
        return self._tracer.pooled

    @property
    def watched_node(self) -> Node | None:
        """The operation that produced the watched layer's output."""
        return self._tracer.capture.watched_node

    @property
    def left(self) -> tuple[Node, ...]:
        """Operations whose results left the record as plain numbers."""
        return tuple(self._tracer.left)

    def is_tensor(self, value: object) -> bool:
        """Whether a value is a native tensor."""
        return self._framework.is_tensor(value)

    def resolve(self, tensor: Tensor) -> Tensor:
        """What carries the derivatives of a tensor that the model returned."""
        return self._tracer.resolve(tensor)

    def node(self, tensor: Tensor) -> Node | None:
        """The operation that produced a tensor."""
        return self._tracer.nodes.get(tensor)

    def squash_input(self, node: Node) -> Tensor | None:
        """What went into a sigmoid or softmax; None for other operations, and where it was not kept."""
        return self._tracer.squash_input(node)

    def layer_name(self, node: Node) -> str:
        """Dotted name of the module in which an operation ran, or the operation's own name."""
        name = self._name_of(node.module) if node.module is not None else ""
        return name or node.name

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what is computed from the trace's tensors."""
        self._framework.start_recording()
        yield

    def pullback(
        self, outputs: Tensor, cotangents: Iterable[Tensor], to: Tensor, *, differentiable: bool = False
    ) -> Iterator[Tensor]:
        """Send cotangents of `outputs` back to `to`, one after the other over one graph."""
        results = self._framework.pullback(outputs, cotangents, to, differentiable=differentiable)
        if results is None:
            raise GradientError(CUT)
        yield from results

    def pullback_to_each(
        self, outputs: Tensor, cotangents: Iterable[Tensor], to: Sequence[Tensor]
    ) -> Iterator[tuple[Tensor, ...]]:
        """Send cotangents of `outputs` back to several tensors at once."""
        results = self._framework.pullback_to_each(outputs, cotangents, to)
        if results is None:
            raise GradientError(CUT)
        yield from results
