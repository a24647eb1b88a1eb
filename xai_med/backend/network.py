"""The second layer of abstraction: a model that can be traced, and the trace."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from xai_med.backend.framework import Inventory
from xai_med.backend.places.lattice import Lattice
from xai_med.backend.record import Node
from xai_med.backend.rule import Composite
from xai_med.backend.start import Start
from xai_med.backend.tensors import Array, Tensor, Tensors

if TYPE_CHECKING:
    from xai_med.blueprints.blueprint import Blueprint


class Trace(Protocol):
    """One forward pass and what was seen in it."""

    output: Any
    """What the model returned."""
    was_training: bool
    """Whether a part of the model was found in training mode (it ran in evaluation mode all the same)."""

    @property
    def tensors(self) -> Tensors:
        """The framework's tensor operations."""
        ...

    @property
    def captured(self) -> Tensor | None:
        """The tensor at which differentiation begins (see `Start`)."""
        ...

    @property
    def captured_node(self) -> Node | None:
        """The operation that produced the captured tensor."""
        ...

    @property
    def lattice(self) -> Lattice | None:
        """Where in the image the cells of the captured tensor lie; None where they divide it evenly."""
        ...

    @property
    def replaced(self) -> Tensor | None:
        """The model's own tensor where it went on from another value (see `AtResult`)."""
        ...

    @property
    def late_producer(self) -> int | None:
        """Index of the operation to capture after in a second pass, where one pass did not suffice."""
        ...

    @property
    def pooled(self) -> tuple[Tensor, Node] | None:
        """The tensor that entered the last global average pool, and the pool's node."""
        ...

    @property
    def watched_node(self) -> Node | None:
        """The operation that produced the watched or captured layer's output."""
        ...

    @property
    def left(self) -> tuple[Node, ...]:
        """Operations whose results left the record as plain numbers, such as ``x.max().item()``."""
        ...

    def is_tensor(self, value: object) -> bool:
        """Whether a value is a native tensor."""
        ...

    def resolve(self, tensor: Tensor) -> Tensor:
        """What carries the derivatives of a tensor that the model returned."""
        ...

    def node(self, tensor: Tensor) -> Node | None:
        """The operation that produced a tensor, None where it does not depend on the input."""
        ...

    def squash_input(self, node: Node) -> Tensor | None:
        """What went into a sigmoid or softmax; None for other operations, and where it was not kept."""
        ...

    def layer_name(self, node: Node) -> str:
        """Dotted name of the module in which an operation ran, or the operation's own name."""
        ...

    def recording(self) -> AbstractContextManager[None]:
        """A context in which operations on the trace's tensors are recorded for `pullback`."""
        ...

    def pullback(
        self, outputs: Tensor, cotangents: Iterable[Tensor], to: Tensor, *, differentiable: bool = False
    ) -> Iterator[Tensor]:
        """Send cotangents of `outputs` back to `to`, one result of the shape of `to` for each.

        Raises
        ------
        GradientError
            There is no differentiable path, or the framework cannot differentiate the model.
        """
        ...

    def pullback_to_each(
        self, outputs: Tensor, cotangents: Iterable[Tensor], to: Sequence[Tensor]
    ) -> Iterator[tuple[Tensor, ...]]:
        """Send cotangents of `outputs` back to several tensors at once, such as one result in each block.

        Raises
        ------
        GradientError
            As for `pullback`; also where only one of them has no path.
        """
        ...


class Network(Protocol):
    """A model of some framework, seen through its adapter."""

    @property
    def tensors(self) -> Tensors:
        """The framework's tensor operations."""
        ...

    @property
    def dtype(self) -> str:
        """Floating dtype of the model's weights."""
        ...

    def trace(
        self, batch: Tensor, *, start: Start, rules: Composite | None = None, differentiable: bool = False
    ) -> AbstractContextManager[Trace]:
        """Run the model once, in evaluation mode, and hand out the trace; all is as before on exit.

        Parameters
        ----------
        batch : tensor of shape (N, C, *space)
            Not changed.
        start : Start
            Where differentiation begins.
        rules : Composite or None
            Surrogates for operations.
        differentiable : bool
            Keep the whole graph, back to the caller's parameters.
        """
        ...

    def is_tensor(self, value: object) -> bool:
        """Whether a value is a native tensor."""
        ...

    def forward(self, batch: Tensor) -> Any:
        """Run the model in evaluation mode as it is, with nobody watching: what traces are compared with."""
        ...

    def check(self, *, afresh: bool = False) -> Inventory:
        """Refuse a model that cannot be explained (see `Framework.check_model`).

        Parameters
        ----------
        afresh : bool
            Look at every weight, also at those that were found finite before and not written since.
        """
        ...

    def batch(self, x: Any) -> Tensor:
        """A private native copy of the caller's images."""
        ...

    def find_layer(self, layer: Any) -> tuple[Any, str]:
        """Module and dotted name, from either."""
        ...

    def as_dtype(self, dtype: str) -> "Network":
        """A copy of the model with other floating weights; the caller's model stays as it is."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Framework's name and version."""
        ...


class Backend(Protocol):
    """What an entry point of ``xai_med.backends`` names: a framework's adapter."""

    @property
    def name(self) -> str:
        """Short name, as in ``backend="torch"``."""
        ...

    @property
    def tensors(self) -> Tensors:
        """The framework's tensor operations."""
        ...

    def recognises(self, model: object) -> bool:
        """Whether a model belongs to this framework, found without importing it."""
        ...

    def network(self, model: Any) -> Network:
        """Wrap a model."""
        ...

    def tensor(self, array: Array) -> Tensor:
        """A native tensor with the values and dtype of an array."""
        ...

    def build(self, blueprint: "Blueprint", *, dtype: str = "float32") -> Any:
        """Build a blueprint as a native model in evaluation mode."""
        ...

    def load_weights(self, model: Any, arrays: Mapping[str, Array]) -> None:
        """Fill a model with named arrays, under the names of its own state dictionary; all, and no others.

        Raises
        ------
        FileFormatError
            Names or shapes differ, or a value is not finite; the message names them.
        """
        ...
