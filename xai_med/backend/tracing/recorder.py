"""Keeps the record of a forward pass: which operation made each tensor that depends on the input."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from xai_med.backend.axes import image_axes, result_axes
from xai_med.backend.framework import Framework
from xai_med.backend.operations import NO_DETAILS, Call, Details, Kind
from xai_med.backend.places.moves import MOVING, record_move
from xai_med.backend.record import LateNode, Node
from xai_med.backend.tensors import Tensor, is_floating, shape_of
from xai_med.backend.tracing.weak import TensorMap

_ENDING = frozenset({Kind.STEP, Kind.DETACH})
_SQUASHES = frozenset({Kind.SIGMOID, Kind.SOFTMAX})
_DIVIDE = Kind.DIVIDE


class Recorder:
    """Makes a node of each call.

    Parameters
    ----------
    framework : Framework
        Of the model.
    space : int
        Number of space axes of the input.
    """

    def __init__(self, framework: Framework, space: int) -> None:
        self._framework = framework
        self._space = space
        self.nodes: TensorMap[Node] = TensorMap(forgets=False)
        self.left: list[Node] = []
        self.count = 0
        self._squashed: dict[int, tuple[Tensor, Node]] = {}
        self._consumed: set[int] = set()

    def input_node(self, shape: tuple[int, ...]) -> Node:
        """The node of the network's input."""
        return Node(Kind.ROUTING, "input", (), shape, image_axes(self._space), 0)

    # ---- questions

    def parents(self, call: Call) -> tuple[Node, ...]:
        """Producers of the arguments, also inside lists, that depend on the input."""
        if call.deferred is not None:
            node = self.nodes.get(call.args[0])
            return () if node is None else (node,)
        return tuple(self.nodes.among((*call.args, *call.kwargs.values()) if call.kwargs else call.args))

    def first_signal(self, call: Call) -> Tensor | None:
        """The first argument that depends on the input."""
        if call.args and self.nodes.get(call.args[0]) is not None:
            return call.args[0]
        for value in (*call.args, *call.kwargs.values()):
            for item in value if isinstance(value, list | tuple) else (value,):
                if self.nodes.get(item) is not None:
                    return item
        return None

    def is_fresh(self, node: Node) -> bool:
        """Whether nothing has consumed the node's output yet."""
        return node.index not in self._consumed

    def squash_input(self, node: Node) -> Tensor | None:
        """What went into a sigmoid or softmax."""
        return self._squashed.get(node.index, (None, None))[0]

    # ---- one call

    def made(self, call: Call, parents: tuple[Node, ...], result: Any) -> list[Tensor]:
        """The tensors that a call made; none where its result left the record as a plain number."""
        if self._framework.is_tensor(result):
            return [result]
        if result is None and call.args:  # item assignment
            return [call.args[0]]
        tensors = tensors_in(result, self._framework)
        if not tensors:
            self.left.extend(parents)  # a number or a truth value, which the record cannot follow
        return tensors

    def note(
        self,
        call: Call,
        details: Details,
        parents: tuple[Node, ...],
        tensors: list[Tensor],
        *,
        module: Any,
        is_cut: bool,
    ) -> Node:
        """Record a call.

        Parameters
        ----------
        call, details, parents, tensors
            The call, what was read off it so far, the producers of its signals, and what it made.
        module : object or None
            The innermost module that is running.
        is_cut : bool
            Whether derivatives end here because the model has switched them off.
        """
        self.count += 1
        kind = call.kind
        is_open = False
        for parent in parents:
            self._consumed.add(parent.index)
            is_open |= parent.is_differentiable
        shape = shape_of(tensors[0])
        if shape == parents[0].shape:
            shape = parents[0].shape  # one tuple for both: the less the record holds, the faster it is made
        details.signal = None  # the record keeps no tensor of the model's computation alive
        is_late = call.deferred is not None and details is NO_DETAILS
        make = LateNode if is_late else Node
        return make(
            kind if kind is not _DIVIDE else self._division(call),
            call.name,
            parents,
            shape,
            result_axes(kind, details, parents, shape, space=self._space),
            self.count,
            is_differentiable=is_open
            and not is_cut
            and kind not in _ENDING
            and (is_late or is_floating(self._framework.tensors.dtype(tensors[0]))),
            module=module,
            details=call.deferred if is_late else details,  # type: ignore[arg-type]
            outputs=len(tensors),
            move=record_move(call, parents, self.nodes, self._framework) if kind in MOVING else None,
        )

    def _division(self, call: Call) -> Kind:
        """Division by a signal alone, or to whole numbers, is an element-wise non-linearity."""
        numerator = call.args[0] if call.args else next(iter(call.kwargs.values()))
        is_linear = self.nodes.get(numerator) is not None and call.kwargs.get("rounding_mode") is None
        return Kind.DIVIDE if is_linear else Kind.ACTIVATION

    def assign(self, call: Call, node: Node, tensors: list[Tensor], resolve: Callable[[Tensor], Tensor]) -> None:
        """Say which tensors a node stands for from now on.

        Parameters
        ----------
        call, node, tensors
            The call, its node, and what it made.
        resolve : callable
            Gives what stands for a tensor of the model.
        """
        if call.kind in _SQUASHES and not call.writes_in_place:
            signal = resolve(self.first_signal(call))
            if len(node.shape) > 2:  # dense outputs are large: only the latest can be the model's last operation
                self._squashed = {k: v for k, v in self._squashed.items() if len(v[1].shape) <= 2}
            self._squashed[node.index] = (signal, node)
        self.nodes.set(tensors[0], node)
        for position, tensor in enumerate(tensors[1:], start=1):
            self.nodes.set(tensor, self._further_output(node, position, tensor))
        if call.writes_in_place:
            if tensors[0] is not call.args[0]:
                self.nodes.set(call.args[0], node)  # the model may go on with the tensor that it changed
            self._note_base(call.args[0], node)

    def _further_output(self, node: Node, position: int, tensor: Tensor) -> Node:
        """The node of another output of an operation that has several."""
        self.count += 1
        shape = shape_of(tensor)
        return replace(
            node,
            shape=shape,
            axes=result_axes(node.kind, node.details, node.parents, shape, space=self._space),
            index=self.count,
            is_differentiable=node.is_differentiable and is_floating(self._framework.tensors.dtype(tensor)),
            output=position,
        )

    def _note_base(self, view: Tensor, node: Node) -> None:
        """A tensor whose view was written has changed with it."""
        base = self._framework.base(view)
        old = None if base is None else self.nodes.get(base)
        if base is not None and old is not None and old is not node:
            self.count += 1
            changed = replace(old, kind=Kind.ROUTING, name=f"{node.name} on a view", parents=(old, node))
            self.nodes.set(base, replace(changed, index=self.count, details=NO_DETAILS, output=0, move=None))


def tensors_in(result: Any, framework: Framework) -> list[Tensor]:
    """The tensors that a call returned."""
    outputs = result if isinstance(result, list | tuple) else (result,)
    return [output for output in outputs if framework.is_tensor(output)]
