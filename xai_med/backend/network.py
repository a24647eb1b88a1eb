"""The second layer of abstraction: a model that can be traced, and the trace."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Protocol

from xai_med.backend.failures import FailureWatch
from xai_med.backend.framework import Framework, Inventory
from xai_med.backend.keeping import StateKeeper
from xai_med.backend.lattice import Lattice
from xai_med.backend.record import Node
from xai_med.backend.rule import Composite
from xai_med.backend.start import Start
from xai_med.backend.tensors import Array, Tensor, Tensors, shape_of
from xai_med.backend.trace import RecordedTrace
from xai_med.backend.tracer import Tracer
from xai_med.errors import LayerError, ModelError

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

    def check(self) -> Inventory:
        """Refuse a model that cannot be explained (see `Framework.check_model`)."""
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


class TracedNetwork:
    """`Network` for frameworks whose function calls can be intercepted.

    Parameters
    ----------
    framework : Framework
        The adapter.
    model : object
        The caller's model.
    """

    def __init__(self, framework: Framework, model: Any) -> None:
        self._framework = framework
        self._model = model

    @property
    def tensors(self) -> Tensors:
        """The framework's tensor operations."""
        return self._framework.tensors

    @property
    def dtype(self) -> str:
        """Floating dtype of the model's weights."""
        return self._framework.dtype(self._model)

    @contextmanager
    def trace(
        self, batch: Tensor, *, start: Start, rules: Composite | None = None, differentiable: bool = False
    ) -> Iterator[Trace]:
        """Run the model once and hand out the trace."""
        framework = self._framework
        with framework.isolated(), framework.evaluation_mode(self._model) as was_training:
            keeper = StateKeeper(framework, framework.layers(self._model).values())
            if not framework.sees_every_write:
                keeper.keep_buffers()
            tracer = Tracer(
                framework,
                start=start,
                rules=rules,
                space=len(shape_of(batch)) - 2,
                differentiable=differentiable,
                keeper=keeper,
            )
            watch = FailureWatch(framework, tracer)
            try:
                output = self._run(tracer, watch, batch)
                names = {id(module): name for name, module in framework.layers(self._model).items()}
                yield RecordedTrace(framework, tracer, output, names, was_training=was_training)
            finally:
                keeper.restore()

    def _run(self, tracer: Tracer, watch: FailureWatch, batch: Tensor) -> Any:
        try:
            with self._framework.intercepted(watch):
                return self._model(tracer.enter_network(batch))
        except Exception as error:
            refusal = watch.refusal(error, shape_of(batch), self._framework.tensors.dtype(batch))
            if refusal is not None:
                raise refusal from error
            error.add_note(f"(while the model ran on an input of shape {shape_of(batch)} for an explanation)")
            raise

    def is_tensor(self, value: object) -> bool:
        """Whether a value is a native tensor."""
        return self._framework.is_tensor(value)

    def forward(self, batch: Tensor) -> Any:
        """Run the model in evaluation mode with nobody watching."""
        framework = self._framework
        with framework.isolated(), framework.evaluation_mode(self._model):
            keeper = StateKeeper(framework, framework.layers(self._model).values())
            keeper.keep_buffers()
            try:
                return self._model(framework.copy(batch))  # a model may write into its input
            finally:
                keeper.restore()

    def check(self) -> Inventory:
        """Refuse a model that cannot be explained."""
        _refuse_several_inputs(self._model)
        return self._framework.check_model(self._model)

    def batch(self, x: Any) -> Tensor:
        """A private native copy of the caller's images."""
        return self._framework.batch(x, self._model)

    def find_layer(self, layer: Any) -> tuple[Any, str]:
        """Module and dotted name, from either."""
        layers = self._framework.layers(self._model)
        if isinstance(layer, str):
            if layer in layers and layer:
                return layers[layer], layer
            near = get_close_matches(layer, layers, n=3, cutoff=0.4)
            hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"it has {len(layers)} layers"
            raise LayerError(f"the model has no layer {layer!r}; {hint}")
        for name, module in layers.items():
            if module is layer:
                return module, name
        raise LayerError(
            f"the layer given, a {type(layer).__name__}, is not part of this model; "
            f"give one of its own modules, or a dotted name"
        )

    def as_dtype(self, dtype: str) -> "TracedNetwork":
        """A copy of the model with other floating weights."""
        return TracedNetwork(self._framework, self._framework.with_dtype(self._model, dtype))

    def versions(self) -> Mapping[str, str]:
        """Framework's name and version."""
        return self._framework.versions()


def _refuse_several_inputs(model: Any) -> None:
    """Refuse a model that cannot be called with the images alone."""
    try:
        signature = inspect.signature(model.forward)
    except (AttributeError, TypeError, ValueError):
        return  # not written in Python: what it takes shows when it is called
    try:
        signature.bind(None)
    except TypeError:
        names = ", ".join(signature.parameters)
        raise ModelError(
            f"the model's forward takes ({names}) and gets one argument, the images; "
            f"wrap it in a module that supplies the others"
        ) from None
