"""A model of an eager framework, whose function calls can be intercepted."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from xai_med.backend.framework import Framework, Inventory
from xai_med.backend.network import Trace
from xai_med.backend.rule import Composite
from xai_med.backend.start import Start
from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.backend.tracing.evaluation import evaluation_mode
from xai_med.backend.tracing.failures import refusal
from xai_med.backend.tracing.keeping import StateKeeper
from xai_med.backend.tracing.trace import RecordedTrace
from xai_med.backend.tracing.tracer import Tracer
from xai_med.errors import LayerError, ModelError, OpaqueModelError


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
        self._is_opaque = False

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
        with framework.isolated(), evaluation_mode(self._layers.values()) as was_training:
            keeper = StateKeeper(framework, self._layers.values())
            if not framework.sees_every_write:
                keeper.keep_buffers()
            tracer = Tracer(
                framework,
                start=start,
                rules=rules,
                space=len(shape_of(batch)) - 2,
                differentiable=differentiable,
                keeper=keeper,
                name_of=self._name_of,
            )
            try:
                output = self._run(tracer, batch)
                yield RecordedTrace(framework, tracer, output, self._name_of, was_training=was_training)
            finally:
                keeper.restore()

    def _run(self, tracer: Tracer, batch: Tensor) -> Any:
        framework = self._framework
        try:
            with framework.intercepted(tracer):
                return self._model(tracer.enter_network(batch))
        except Exception as error:
            refused = refusal(error, tracer.failure, shape_of(batch), framework.tensors.dtype(batch), framework)
            if refused is not None:
                raise refused from error
            error.add_note(f"(while the model ran on an input of shape {shape_of(batch)} for an explanation)")
            raise

    def is_tensor(self, value: object) -> bool:
        """Whether a value is a native tensor."""
        return self._framework.is_tensor(value)

    def forward(self, batch: Tensor) -> Any:
        """Run the model in evaluation mode with nobody watching."""
        framework = self._framework
        if self._is_opaque:
            return self._answer(batch)
        with framework.isolated(), evaluation_mode(self._layers.values()):
            keeper = StateKeeper(framework, self._layers.values())
            keeper.keep_buffers()
            try:
                return self._model(framework.copy(batch))  # a model may write into its input
            finally:
                keeper.restore()

    def _answer(self, batch: Tensor) -> Any:
        """Run a model of whose parts nothing is known, and nothing can be switched or restored."""
        if getattr(self._model, "training", False):
            raise ModelError("the model is in training mode, which cannot be switched from here; call model.eval()")
        with self._framework.isolated():
            kept = {name: self._framework.copy(buffer) for name, buffer in self._model.named_buffers()}
            try:
                return self._model(self._framework.copy(batch))
            finally:
                for name, buffer in self._model.named_buffers():
                    self._framework.overwrite(buffer, kept[name])

    @cached_property
    def _layers(self) -> Mapping[str, Any]:
        """All parts of the model, listed once for each explanation."""
        return self._framework.layers(self._model)

    @cached_property
    def _names(self) -> dict[int, str]:
        return {id(module): name for name, module in self._layers.items()}

    def _name_of(self, module: Any) -> str:
        """Dotted name of a module; a model may have made it while it ran."""
        if id(module) not in self._names:
            self._names.update({id(each): name for name, each in self._framework.layers(self._model).items()})
        return self._names.get(id(module), "")

    def check(self, *, afresh: bool = False) -> Inventory:
        """Refuse a model that cannot be explained."""
        _refuse_several_inputs(self._model)
        try:
            return self._framework.check_model(self._model, self._layers, afresh=afresh)
        except OpaqueModelError:
            self._is_opaque = True
            raise

    def batch(self, x: Any) -> Tensor:
        """A private native copy of the caller's images."""
        return self._framework.batch(x, self._model)

    def find_layer(self, layer: Any) -> tuple[Any, str]:
        """Module and dotted name, from either."""
        layers = self._layers
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
