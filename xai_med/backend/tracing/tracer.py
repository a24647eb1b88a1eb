"""Follows one forward pass operation by operation; knows no framework."""

from collections.abc import Callable
from typing import Any

from xai_med.backend.arguments import map_tensors
from xai_med.backend.framework import Framework
from xai_med.backend.operations import NO_DETAILS, Call, Details, Kind
from xai_med.backend.pooling import has_space, is_global_average, leaves_space
from xai_med.backend.record import Node
from xai_med.backend.rule import Composite
from xai_med.backend.start import Start
from xai_med.backend.tensors import Tensor, shape_of
from xai_med.backend.tracing.capture import Capture
from xai_med.backend.tracing.failures import OF_FRAMEWORKS, Failure, noted
from xai_med.backend.tracing.keeping import StateKeeper
from xai_med.backend.tracing.recorder import Recorder, tensors_in
from xai_med.backend.tracing.refusals import refuse_call, refuse_hidden, refuse_random, refuse_unfollowed_write
from xai_med.backend.tracing.surrogates import Surrogates

_DETAILED = frozenset(
    {
        Kind.CONVOLUTION,
        Kind.TRANSPOSED_CONVOLUTION,
        Kind.LINEAR,
        Kind.BATCH_NORM,
        Kind.NORMALISATION,
        Kind.SOFTMAX,
        Kind.AVERAGE_POOL,
        Kind.MAX_POOL,
        Kind.MEAN,
        Kind.SUM,
        Kind.MAXIMUM,
        Kind.PERMUTE,
        Kind.DROPOUT,
        Kind.ROUTING,
        Kind.CONCATENATE,
        Kind.ACTIVATION,  # some draw random slopes, some are bounded
        Kind.ATTENTION,  # may drop at random
        Kind.MATMUL,
        Kind.RANDOM,
    }
)
_MAY_POOL = frozenset({Kind.AVERAGE_POOL, Kind.MEAN})


class Tracer:
    """Receives the stream of operations, keeps the record, applies rules, begins differentiation.

    Parameters
    ----------
    framework : Framework
        Of the model.
    start : Start
        Where differentiation begins.
    rules : Composite or None
        Surrogates, if any.
    space : int
        Number of space axes of the input.
    differentiable : bool
        Whether the caller's own graph goes on through captured tensors.
    keeper : StateKeeper
        Is told before the model writes in place.
    name_of : callable
        Gives the dotted name of a module, which rules for named layers go by.
    """

    def __init__(
        self,
        framework: Framework,
        *,
        start: Start,
        rules: Composite | None,
        space: int,
        differentiable: bool,
        keeper: StateKeeper,
        name_of: Callable[[Any], str] = lambda _: "",
    ) -> None:
        self._framework = framework
        self._keeper = keeper
        self._space = space
        self._recorder = Recorder(framework, space)
        self.nodes = self._recorder.nodes
        self.left = self._recorder.left
        self.pooled: tuple[Tensor, Node] | None = None
        self.capture = Capture(framework, start, space=space, differentiable=differentiable)
        self._surrogates = None if rules is None else Surrogates(framework, rules, self.nodes, self._layer)
        self._name_of = name_of
        self._modules: list[tuple[Any, int]] = []
        self.failure: Failure | None = None

    # ---- the input and the modules

    def enter_network(self, batch: Tensor) -> Tensor:
        """Register the input and return what the model should be given."""
        node = self._recorder.input_node(shape_of(batch))
        handed, probe = self.capture.at_input(batch, node)
        if self._surrogates is not None and probe is not None:
            self._surrogates.begin(handed, probe)
        self.nodes.set(handed, node)
        return handed

    def enter_module(self, module: Any) -> None:
        """Note that a module begins to run."""
        self._modules.append((module, self._recorder.count))

    def leave_module(self, module: Any, output: Any) -> Any:
        """Note that a module has run; return what it should hand on."""
        entered = self._recorder.count
        while self._modules:
            running, entered = self._modules.pop()
            if running is module:
                break  # any other raised, and the model caught it
        if not self.capture.wants(module):
            return output
        return self.capture.at_layer(output, self.nodes, entered=entered)

    # ---- operations

    def call(self, call: Call) -> Any:
        """Run one function for the model."""
        try:
            return self._follow(call)
        except OF_FRAMEWORKS as error:
            self.failure = noted(error, call, self._module, self.failure)
            raise

    def _follow(self, call: Call) -> Any:
        parents = self._recorder.parents(call)
        surrogates, capture = self._surrogates, self.capture
        if surrogates is not None:
            refuse_hidden(call, self._framework, self.nodes, capture.tensor, self._place)
        if call.writes_in_place:
            self._keeper.before(call)
            if capture.tensor is not None:
                refuse_unfollowed_write(call, self._framework, self.nodes, self._place)
        if not parents:
            if call.kind is Kind.RANDOM:
                refuse_random(call, self._place)
            return call.function(*call.args, **call.kwargs)
        if surrogates is not None and call.expand is not None:
            return call.expand()
        details = NO_DETAILS
        is_late = call.deferred is not None and surrogates is None and parents[0].index  # the input's channels count
        if call.kind in _DETAILED and not is_late:
            details = call.read(call.args, call.kwargs)
            if call.kind is Kind.ROUTING and details.signal is not None:  # other arguments only lend their shape
                parents = tuple(self.nodes.among((details.signal,)))
                if not parents:
                    return call.function(*call.args, **call.kwargs)
            refuse_call(call, details, parents, images=capture.images, place=self._place)
        if capture.awaits_result and capture.awaits(parents):
            self._begin_at_result(call)
        if surrogates is not None:
            is_covered = surrogates.covers(call, details)
            result = surrogates.run(call, details, is_covered=is_covered)
            self._note(call, details, parents, result, is_covered=is_covered)
            return result
        if not capture.follows_pools:
            result = self._run(call) if capture.substitutes else call.function(*call.args, **call.kwargs)
            self._note(call, details, parents, result)
            return result
        signal = self._signal(call, details)
        is_fresh = self._recorder.is_fresh(parents[0])
        result = self._run(call)
        node = self._note(call, details, parents, result)
        return result if node is None else self._follow_pool(call, node, signal, result, is_fresh=is_fresh)

    def _signal(self, call: Call, details: Details) -> Tensor | None:
        return details.signal if details.signal is not None else self._recorder.first_signal(call)

    def _begin_at_result(self, call: Call) -> None:
        for value in (*call.args, *call.kwargs.values()):
            for item in value if isinstance(value, list | tuple) else (value,):
                node = self.nodes.get(item)
                if node is not None and self.capture.awaits((node,)):
                    self.capture.at_result(item, node, self.nodes)

    def _run(self, call: Call) -> Any:
        if self.capture.substitutes:
            args, kwargs = map_tensors(self.capture.resolve, call.args, call.kwargs, self._framework.is_tensor)
            return call.function(*args, **kwargs)
        return call.function(*call.args, **call.kwargs)

    def resolve(self, tensor: Tensor) -> Tensor:
        """What stands for a tensor of the model: the captured copy or the surrogate in place of the plain one."""
        if self._surrogates is not None:
            return self._surrogates.resolve(tensor)
        return self.capture.resolve(tensor)

    def depends_on_input(self, tensor: Tensor) -> bool:
        """Whether a tensor was computed from the network's input."""
        return self.nodes.get(tensor) is not None

    @property
    def _module(self) -> Any:
        """The innermost module that is running, None outside of all."""
        return self._modules[-1][0] if self._modules else None

    def _layer(self) -> str:
        """Dotted name of the innermost module that is running, empty in the model's own."""
        return "" if self._module is None else self._name_of(self._module)

    def _place(self) -> str:
        return f"module {type(self._module).__name__}" if self._modules else "the model"

    def _note(
        self, call: Call, details: Details, parents: tuple[Node, ...], result: Any, *, is_covered: bool = True
    ) -> Node | None:
        signal = self._signal(call, details) if call.kind in _MAY_POOL else None
        recorder = self._recorder
        tensors = recorder.made(call, parents, result)
        if not tensors:
            return None
        is_cut = self.capture.tensor is not None and not self._framework.is_recording()
        node = recorder.note(call, details, parents, tensors, module=self._module, is_cut=is_cut)
        if self._surrogates is not None:
            self._surrogates.judge(node, call, is_covered=is_covered)
        recorder.assign(call, node, tensors, self.resolve)
        if signal is not None and is_global_average(node.kind, details, parents[0], self._space):
            self.pooled = (self.resolve(signal), node)
        return node

    def squash_input(self, node: Node) -> Tensor | None:
        """What went into a sigmoid or softmax."""
        return self._recorder.squash_input(node)

    # ---- the beginning of differentiation at the pool

    def _follow_pool(self, call: Call, node: Node, signal: Tensor | None, result: Any, *, is_fresh: bool) -> Any:
        if self.capture.producer is not None:
            for output in tensors_in(result, self._framework):
                made_by = self.nodes.get(output)
                if made_by is not None and made_by.index == self.capture.producer:
                    self.capture.at_producer(output, made_by, self.nodes)
            return result
        parent = node.parents[0]
        if signal is None or call.writes_in_place:
            return result
        if not (
            (node.kind in _MAY_POOL and is_global_average(node.kind, node.details, parent, self._space))
            or (has_space(parent, self._space) and leaves_space(node))
        ):
            if has_space(node, self._space):
                self.capture.drop()
            return result
        if self.capture.at_tensor(signal, parent, self.nodes, is_fresh=is_fresh):
            args, kwargs = map_tensors(self.capture.resolve, call.args, call.kwargs, self._framework.is_tensor)
            again = call.function(*args, **kwargs)
            for old, new in zip(*(tensors_in(each, self._framework) for each in (result, again)), strict=True):
                self.nodes.set(new, self.nodes.get(old) or node)
            result = again
            if self.pooled is not None and self.pooled[1] is node:
                self.pooled = (self.capture.resolve(signal), node)
        return result
