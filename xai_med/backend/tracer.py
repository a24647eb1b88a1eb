"""Follows one forward pass operation by operation; knows no framework."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from xai_med.backend.arguments import map_tensors
from xai_med.backend.axes import image_axes, result_axes
from xai_med.backend.capture import Capture
from xai_med.backend.framework import Framework
from xai_med.backend.keeping import StateKeeper
from xai_med.backend.moves import record_move
from xai_med.backend.operations import NO_DETAILS, Call, Details, Kind
from xai_med.backend.pooling import has_space, is_global_average, leaves_space
from xai_med.backend.record import Node
from xai_med.backend.refusals import refuse_call, refuse_hidden, refuse_random, refuse_unfollowed_write
from xai_med.backend.rule import Composite
from xai_med.backend.start import Start
from xai_med.backend.surrogates import Surrogates
from xai_med.backend.tensors import Tensor, is_floating, shape_of
from xai_med.backend.weak import TensorMap

_DETAILED = frozenset(
    {
        Kind.CONVOLUTION,
        Kind.TRANSPOSED_CONVOLUTION,
        Kind.LINEAR,
        Kind.BATCH_NORM,
        Kind.NORMALISATION,
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
    ) -> None:
        self._framework = framework
        self._keeper = keeper
        self._space = space
        self.nodes: TensorMap[Node] = TensorMap()
        self.pooled: tuple[Tensor, Node] | None = None
        self.capture = Capture(framework, start, space=space, differentiable=differentiable)
        self._surrogates = Surrogates(framework, rules, self.nodes) if rules is not None else None
        self._squashed: dict[int, tuple[Tensor, Node]] = {}
        self._consumed: set[int] = set()
        self._modules: list[tuple[Any, int]] = []
        self.left: list[Node] = []
        self._count = 0

    # ---- the input and the modules

    def enter_network(self, batch: Tensor) -> Tensor:
        """Register the input and return what the model should be given."""
        node = Node(Kind.ROUTING, "input", (), shape_of(batch), image_axes(self._space), 0)
        handed, probe = self.capture.at_input(batch, node)
        if self._surrogates is not None and probe is not None:
            self._surrogates.begin(handed, probe)
        self.nodes.set(handed, node)
        return handed

    def enter_module(self, module: Any) -> None:
        """Note that a module begins to run."""
        self._modules.append((module, self._count))

    def leave_module(self, module: Any, output: Any) -> Any:
        """Note that a module has run; return what it should hand on."""
        entered = self._count
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
        self._keeper.before(call)
        parents = self._parents(call.args, call.kwargs)
        if self._surrogates is not None:
            refuse_hidden(call, self._framework, self.nodes, self.capture.tensor, self._place())
        if call.writes_in_place and self.capture.tensor is not None:
            refuse_unfollowed_write(call, self._framework, self.nodes, self._place())
        if not parents:
            if call.kind is Kind.RANDOM:
                refuse_random(call, self._place())
            return call.function(*call.args, **call.kwargs)
        if self._surrogates is not None and call.expand is not None:
            return call.expand()
        details = call.read(call.args, call.kwargs) if call.kind in _DETAILED else NO_DETAILS
        if call.kind is Kind.ROUTING and details.signal is not None:  # other arguments only lend their shape
            parents = self._parents((details.signal,), {})
            if not parents:
                return call.function(*call.args, **call.kwargs)
        refuse_call(call, details, parents, images=self.capture.images, place=self._place())
        if self.capture.awaits(parents):
            self._begin_at_result(call)
        is_fresh = parents[0].index not in self._consumed
        signal = details.signal if details.signal is not None else self._first_signal(call)
        result = self._run(call, details)
        node = self._note(call, details, parents, result)
        if node is None or not self.capture.follows_pools:
            return result
        return self._follow_pool(call, node, signal, result, is_fresh=is_fresh)

    def _begin_at_result(self, call: Call) -> None:
        for value in (*call.args, *call.kwargs.values()):
            for item in value if isinstance(value, list | tuple) else (value,):
                node = self.nodes.get(item)
                if node is not None and self.capture.awaits((node,)):
                    self.capture.at_result(item, node, self.nodes)

    def _run(self, call: Call, details: Details) -> Any:
        if self._surrogates is not None:
            return self._surrogates.run(call, details)
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

    def _parents(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Node, ...]:
        found = []
        for value in (*args, *kwargs.values()) if kwargs else args:
            for item in value if isinstance(value, list | tuple) else (value,):
                node = self.nodes.get(item)
                if node is not None:
                    found.append(node)
        return tuple(found)

    def _first_signal(self, call: Call) -> Tensor | None:
        for value in (*call.args, *call.kwargs.values()):
            for item in value if isinstance(value, list | tuple) else (value,):
                if self.nodes.get(item) is not None:
                    return item
        return None

    def _place(self) -> str:
        return f"module {type(self._modules[-1][0]).__name__}" if self._modules else "the model"

    # ---- the record

    def _note(self, call: Call, details: Details, parents: tuple[Node, ...], result: Any) -> Node | None:
        tensors = _tensors_in(result, self._framework)
        if result is None and call.args:  # item assignment
            tensors = [call.args[0]]
        if not tensors:
            self.left.extend(parents)  # a number or a truth value, which the record cannot follow
            return None
        self._count += 1
        self._consumed.update(parent.index for parent in parents)
        shape = shape_of(tensors[0])
        floating = is_floating(self._framework.tensors.dtype(tensors[0]))
        is_unrecorded = self.capture.tensor is not None and not self._framework.is_recording()
        node = Node(
            kind=self._kind(call),
            name=call.name,
            parents=parents,
            shape=shape,
            axes=result_axes(call.kind, details, parents, shape, space=self._space),
            index=self._count,
            is_differentiable=floating
            and not is_unrecorded
            and call.kind not in (Kind.STEP, Kind.DETACH)
            and any(parent.is_differentiable for parent in parents),
            is_covered=self._surrogates is None or self._surrogates.covers(call, details),
            weighing=() if self._surrogates is None else self._surrogates.weighing(call, tensors[0]),
            module=self._modules[-1][0] if self._modules else None,
            details=details if details is NO_DETAILS else replace(details, signal=None, linear_map=None),
            outputs=len(tensors),
            move=record_move(call, self.nodes, self._framework),
        )
        self._assign(call, node, tensors)
        if is_global_average(node.kind, details, parents[0], self._space):
            signal = details.signal if details.signal is not None else call.args[0]
            self.pooled = (self.resolve(signal), node)
        return node

    def _kind(self, call: Call) -> Kind:
        """Kind of an operation; division by a signal alone, or to whole numbers, is an element-wise non-linearity."""
        if call.kind is not Kind.DIVIDE:
            return call.kind
        numerator = call.args[0] if call.args else next(iter(call.kwargs.values()))
        is_linear = self.nodes.get(numerator) is not None and call.kwargs.get("rounding_mode") is None
        return Kind.DIVIDE if is_linear else Kind.ACTIVATION

    def _assign(self, call: Call, node: Node, tensors: list[Tensor]) -> None:
        if call.kind in (Kind.SIGMOID, Kind.SOFTMAX) and not call.writes_in_place:
            signal = self.resolve(self._first_signal(call))
            if len(node.shape) > 2:  # dense outputs are large: only the latest can be the model's last operation
                self._squashed = {k: v for k, v in self._squashed.items() if len(v[1].shape) <= 2}
            self._squashed[node.index] = (signal, node)
        self.nodes.set(tensors[0], node)
        for position, tensor in enumerate(tensors[1:], start=1):
            self.nodes.set(tensor, self._further_output(node, position, tensor))
        if call.writes_in_place and tensors[0] is not call.args[0]:
            self.nodes.set(call.args[0], node)  # the model may go on with the tensor that it changed
        if call.writes_in_place:
            self._note_base(call.args[0], node)

    def _further_output(self, node: Node, position: int, tensor: Tensor) -> Node:
        """The node of another output of an operation that has several."""
        self._count += 1
        shape = shape_of(tensor)
        return replace(
            node,
            shape=shape,
            axes=result_axes(node.kind, node.details, node.parents, shape, space=self._space),
            index=self._count,
            is_differentiable=node.is_differentiable and is_floating(self._framework.tensors.dtype(tensor)),
            output=position,
        )

    def _note_base(self, view: Tensor, node: Node) -> None:
        """A tensor whose view was written has changed with it."""
        base = self._framework.base(view)
        old = None if base is None else self.nodes.get(base)
        if base is not None and old is not None and old is not node:
            self._count += 1
            changed = replace(old, kind=Kind.ROUTING, name=f"{node.name} on a view", parents=(old, node))
            self.nodes.set(base, replace(changed, index=self._count, details=NO_DETAILS, output=0, move=None))

    def squash_input(self, node: Node) -> Tensor | None:
        """What went into a sigmoid or softmax."""
        return self._squashed.get(node.index, (None, None))[0]

    # ---- the beginning of differentiation at the pool

    def _follow_pool(self, call: Call, node: Node, signal: Tensor | None, result: Any, *, is_fresh: bool) -> Any:
        if self.capture.producer is not None:
            for output in _tensors_in(result, self._framework):
                made_by = self.nodes.get(output)
                if made_by is not None and made_by.index == self.capture.producer:
                    self.capture.at_producer(output, made_by, self.nodes)
            return result
        parent = node.parents[0]
        if signal is None or call.writes_in_place:
            return result
        if not (
            is_global_average(node.kind, node.details, parent, self._space)
            or (has_space(parent, self._space) and leaves_space(node))
        ):
            if has_space(node, self._space):
                self.capture.drop()
            return result
        if self.capture.at_tensor(signal, parent, self.nodes, is_fresh=is_fresh):
            args, kwargs = map_tensors(self.capture.resolve, call.args, call.kwargs, self._framework.is_tensor)
            again = call.function(*args, **kwargs)
            for old, new in zip(*(_tensors_in(each, self._framework) for each in (result, again)), strict=True):
                self.nodes.set(new, self.nodes.get(old) or node)
            result = again
            if self.pooled is not None and self.pooled[1] is node:
                self.pooled = (self.capture.resolve(signal), node)
        return result


def _tensors_in(result: Any, framework: Framework) -> list[Tensor]:
    """The tensors that a call returned."""
    outputs = result if isinstance(result, list | tuple) else (result,)
    return [output for output in outputs if framework.is_tensor(output)]
