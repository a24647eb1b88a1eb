"""Where differentiation begins in a running model, and what stands for the tensor from there on."""

from collections.abc import Sequence
from typing import Any

from xai_med.backend.axes import has_image_axes
from xai_med.backend.framework import Framework
from xai_med.backend.places.lattice import Lattice
from xai_med.backend.pooling import before_partial_pools
from xai_med.backend.record import Node
from xai_med.backend.start import AtInput, AtLayer, AtPool, AtResult, Displaced, Nowhere, Start
from xai_med.backend.tensors import Tensor, shape_of
from xai_med.backend.tracing.weak import TensorMap
from xai_med.errors import LayerError

_NO_MODULE = object()


class Capture:
    """Makes the leaf of differentiation and hands a copy of it on, so that in-place operations cannot reach it.

    Parameters
    ----------
    framework : Framework
        Of the model.
    start : Start
        Where to begin.
    space : int
        Number of space axes of the input.
    differentiable : bool
        Keep the caller's graph: the captured tensor stays connected to what it was computed from.
    """

    def __init__(self, framework: Framework, start: Start, *, space: int, differentiable: bool) -> None:
        self._framework = framework
        self._start = start.start if isinstance(start, Displaced) else start
        self._displacement: Tensor | None = start.by if isinstance(start, Displaced) else None
        self.follows_pools = isinstance(self._start, AtPool)  # whether the start is to be found
        self.awaits_result = isinstance(self._start, AtResult)  # and the operation has not run yet
        self.substitutes = False  # whether any tensor of the model has a stand-in
        self._watched = _module_of(self._start)
        self._space = space
        self._differentiable = differentiable
        self._stand_ins: TensorMap[Tensor] = TensorMap()
        self.images = 0
        self.tensor: Tensor | None = None
        self.replaced: Tensor | None = None
        self.node: Node | None = None
        self.watched_node: Node | None = None
        self.late_producer: int | None = None

    # ---- what is captured

    def at_input(self, batch: Tensor, node: Node) -> tuple[Tensor, Tensor | None]:
        """Begin at the input if that is the start; return what the model gets, and the probe if there is one."""
        self.images = shape_of(batch)[0]
        if self._differentiable:
            self._framework.start_recording()
        if not isinstance(self._start, AtInput):
            return self._framework.copy(batch), None  # a model may write into its input
        self._framework.start_recording()
        self.node = node
        if not self._start.probed:
            self.tensor = self._framework.leaf(self._displaced(batch))
            return self._framework.copy(self.tensor), None
        self.tensor = self._framework.leaf(self._displaced(batch * 0 + 1))
        return batch * self.tensor, self.tensor

    def wants(self, module: Any) -> bool:
        """Whether this module's output is the one to capture or to remember."""
        return module is self._watched

    def at_layer(self, output: Any, nodes: TensorMap[Node], *, entered: int) -> Any:
        """Capture a layer's output, or remember where it was made; return what the layer hands on.

        Parameters
        ----------
        output : object
            Of the layer.
        nodes : TensorMap
            Where the stand-in is registered.
        entered : int
            Index of the last operation before the layer ran: an older tensor was only passed through, and others
            that hold it do not hold the layer's output.
        """
        name = self._start.name if isinstance(self._start, AtLayer | Nowhere) else ""
        if not self._framework.is_tensor(output):
            raise LayerError(
                f"layer {name!r} returns a {type(output).__name__}, not one tensor; choose a layer inside it"
            )
        node = nodes.get(output)
        if node is None:
            raise LayerError(f"the output of layer {name!r} does not depend on the input; choose another layer")
        if self.watched_node is not None:
            raise LayerError(
                f"layer {name!r} runs more than once in a forward pass, so that its output is ambiguous; "
                f"choose a layer that runs once, such as the block around it"
            )
        self.watched_node = node
        if isinstance(self._start, Nowhere):
            return output
        if self.lattice is None and not has_image_axes(node, self._space):
            return output  # tokens, perhaps: where they lie is asked when the record is complete
        handed = self._begin(output, node)
        if node.index <= entered:
            self._forget_stand_ins()
        nodes.set(handed, node)
        return handed

    def at_tensor(self, tensor: Tensor, node: Node, nodes: TensorMap[Node], *, is_fresh: bool) -> bool:
        """Capture a tensor that enters a pool; False where it is captured already or may not be.

        Parameters
        ----------
        tensor, node
            The tensor and its producer.
        nodes : TensorMap
            Where the stand-in is registered.
        is_fresh : bool
            Whether nothing has consumed the tensor before; otherwise a second pass is needed.
        """
        if self.node is node or not has_image_axes(node, self._space):
            return False
        self._forget_stand_ins()
        made_by = before_partial_pools(node)
        if made_by is not node or (not is_fresh and not self._differentiable):
            self.late_producer = made_by.index
            self.tensor, self.node = None, None
            return False
        self.late_producer = None
        nodes.set(self._begin(tensor, node), node)
        return True

    def at_producer(self, tensor: Tensor, node: Node, nodes: TensorMap[Node]) -> None:
        """Capture what an operation made that an earlier pass has chosen."""
        nodes.set(self._begin(tensor, node), node)

    def awaits(self, nodes: Sequence[Node]) -> bool:
        """Whether one of these made the result at which to begin."""
        if not isinstance(self._start, AtResult) or not self.awaits_result:
            return False
        operation = self._start.operation
        return any(node.index == operation for node in nodes)

    def at_result(self, tensor: Tensor, node: Node, nodes: TensorMap[Node]) -> None:
        """Capture the result of an operation that is about to be consumed, or put another value in its place."""
        value = self._start.value if isinstance(self._start, AtResult) else None
        self.awaits_result = False
        self.replaced = tensor
        if value is None:
            handed = self._begin(tensor, node)
        else:
            tensors = self._framework.tensors
            value = tensors.broadcast(tensors.cast(value, tensors.dtype(tensor)), shape_of(tensor))
            self.node = node
            self._framework.start_recording()
            self.tensor = self._framework.leaf(value)
            handed = self._framework.copy(self.tensor)
            self._stand_in(tensor, handed)
        nodes.set(handed, node)

    def _begin(self, tensor: Tensor, node: Node) -> Tensor:
        self.node = node
        tensors = self._framework.tensors
        features = tensor if self.lattice is None else self.lattice.arranged(tensor, tensors)
        if self._differentiable:
            self.tensor = features
        else:
            self._framework.start_recording()
            self.tensor = self._framework.leaf(self._displaced(features))
        if self.lattice is None:
            handed = self._framework.copy(self.tensor)
        else:
            handed = self.lattice.put_back(self.tensor, tensor, tensors)
        self._stand_in(tensor, handed)
        return handed

    def _displaced(self, tensor: Tensor) -> Tensor:
        return tensor if self._displacement is None else tensor + self._displacement

    @property
    def lattice(self) -> Lattice | None:
        """Which cells of the tensor to capture are places, where it is not (N, C, *space)."""
        return self._start.lattice if isinstance(self._start, AtLayer | AtPool) else None

    # ---- the pool

    @property
    def producer(self) -> int | None:
        """Index of the operation to capture after, where an earlier pass has found it."""
        return self._start.producer if isinstance(self._start, AtPool) else None

    def drop(self) -> None:
        """A tensor with space axes came after the captured one: it was a gate, not the end of the features."""
        if self.node is None:
            return
        self.late_producer = self.node.index
        self.tensor, self.node = None, None
        if not self._differentiable:
            self._framework.stop_recording()

    # ---- stand-ins

    def _stand_in(self, tensor: Tensor, handed: Tensor) -> None:
        self._stand_ins.set(tensor, handed)
        self.substitutes = True

    def _forget_stand_ins(self) -> None:
        self._stand_ins.clear()
        self.substitutes = False

    def resolve(self, tensor: Tensor) -> Tensor:
        """Return the stand-in of a captured tensor, or the tensor itself."""
        stand_in = self._stand_ins.get(tensor)
        return tensor if stand_in is None else stand_in


def _module_of(start: Start) -> object:
    """The module whose output is captured or remembered; what no module is where there is none."""
    if isinstance(start, AtLayer):
        return start.module
    return start.watched if isinstance(start, Nowhere) and start.watched is not None else _NO_MODULE
