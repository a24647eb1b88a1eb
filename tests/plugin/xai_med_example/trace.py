"""One forward pass of a blueprint: every value is kept, so that pullbacks walk the steps backwards."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from xai_med.backend.axes import has_image_axes
from xai_med.backend.numpy_tensors import NUMPY
from xai_med.backend.operations import Kind
from xai_med.backend.record import Node
from xai_med.backend.start import AtInput, AtLayer, AtPool, Nowhere, Start
from xai_med.backend.tensors import Array, Tensor, Tensors
from xai_med.blueprints import INPUT, Blueprint
from xai_med.errors import GradientError, LayerError
from xai_med.testing.oracle import forward
from xai_med.testing.oracle_adjoint import pull_back

from xai_med_example.record import record


class BlueprintTrace:
    """`Trace` of a blueprint.

    Parameters
    ----------
    blueprint : Blueprint
        Runs here, once.
    batch : ndarray of shape (N, C, *space), float64
        Not changed.
    start : Start
        Where differentiation begins.
    """

    was_training = False

    def __init__(self, blueprint: Blueprint, batch: Array, start: Start) -> None:
        self._steps = {step.name: step for step in blueprint.steps}
        # a view each: a dropout hands on the very array that it was given, and names are found by identity
        self._values = {name: _frozen(value) for name, value in forward(blueprint, batch).items()}
        self._nodes = record(blueprint, self._values)
        self._names = {id(value): name for name, value in self._values.items()}
        self.output: Any = self._values[blueprint.steps[-1].name]
        self._captured = self._begin(start, last=self._nodes[blueprint.steps[-1].name])
        self._watched = start.watched.name if isinstance(start, Nowhere) and start.watched is not None else None

    @property
    def tensors(self) -> Tensors:
        """NumPy's tensor operations."""
        return NUMPY

    @property
    def captured(self) -> Tensor | None:
        """The array at which differentiation begins."""
        return None if self._captured is None else self._values[self._captured]

    @property
    def captured_node(self) -> Node | None:
        """The step that produced it."""
        return None if self._captured is None else self._nodes[self._captured]

    @property
    def lattice(self) -> None:
        """Features of a blueprint always divide the image evenly."""
        return

    @property
    def replaced(self) -> Tensor | None:
        """Return None: a blueprint is never made to go on from another value."""
        return None

    @property
    def late_producer(self) -> int | None:
        """Nothing has to be captured while the model runs, so one pass always suffices."""
        return None

    @property
    def left(self) -> tuple[Node, ...]:
        """Steps give arrays and never plain numbers, so nothing leaves the record."""
        return ()

    @property
    def pooled(self) -> tuple[Tensor, Node] | None:
        """The array that entered the last global average pool, and the pool's node."""
        pools = [node for node in self._nodes.values() if _pools_globally(node)]
        return (self._values[pools[-1].parents[0].name], pools[-1]) if pools else None

    @property
    def watched_node(self) -> Node | None:
        """The step that was watched or captured."""
        return self.captured_node if self._watched is None else self._nodes[self._watched]

    def is_tensor(self, value: object) -> bool:
        """Whether a value is an array."""
        return isinstance(value, np.ndarray)

    def resolve(self, tensor: Tensor) -> Tensor:
        """Return the array itself: nothing stands for another."""
        return tensor

    def node(self, tensor: Tensor) -> Node | None:
        """The step that produced an array."""
        name = self._names.get(id(tensor))
        return None if name is None else self._nodes[name]

    def squash_input(self, node: Node) -> Tensor | None:
        """What went into a sigmoid or softmax."""
        return self._values[node.parents[0].name] if node.kind in (Kind.SIGMOID, Kind.SOFTMAX) else None

    def layer_name(self, node: Node) -> str:
        """Name of the step."""
        return node.name

    def recording(self) -> AbstractContextManager[None]:
        """Do nothing: NumPy records no operations, and `pullback` refuses what was computed here."""
        return nullcontext()

    def pullback(
        self, outputs: Tensor, cotangents: Iterable[Tensor], to: Tensor, *, differentiable: bool = False
    ) -> Iterator[Tensor]:
        """Send cotangents of one step's output back to another's."""
        if differentiable:
            raise GradientError("NumPy arrays keep no graph; differentiable=True needs another backend")
        source, goal = self.node(outputs), self.node(to)
        if source is None or goal is None:
            raise GradientError(
                "the explained score was computed from the model's output, which NumPy does not record; "
                "explain a class or a Contrast"
            )
        if goal not in list(source.ancestors()):
            raise GradientError(f"the explained score does not depend on step {goal.name!r}")
        for cotangent in cotangents:
            yield self._pulled_back(cotangent, source, goal)

    def _pulled_back(self, cotangent: Array, source: Node, goal: Node) -> Array:
        arrived: dict[str, Array] = {source.name: np.asarray(cotangent)}
        for node in source.ancestors():  # latest first
            if node.index <= goal.index or node.name not in arrived:
                continue
            step = self._steps[node.name]
            shares = pull_back(step, self._values, arrived.pop(node.name))
            for name, share in zip(step.inputs, shares, strict=True):
                arrived[name] = arrived[name] + share if name in arrived else share
        return arrived[goal.name]

    def _begin(self, start: Start, last: Node) -> str | None:
        space = self._values[INPUT].ndim - 2
        if isinstance(start, AtInput):
            return INPUT
        if isinstance(start, AtLayer):
            node = self._nodes[start.name]
            if not has_image_axes(node, space):
                raise LayerError(f"step {node.name!r} has shape {node.shape}, without the image's space axes")
            return node.name
        if not isinstance(start, AtPool):
            return None
        entering = {node.parents[0].name for node in self._nodes.values() if _pools_globally(node)}
        for node in last.ancestors():  # latest first
            if has_image_axes(node, space) and (max(node.shape[2:]) > 1 or node.name in entering):
                return node.name
        return None


def _pools_globally(node: Node) -> bool:
    return node.details.is_global or node.kind is Kind.MEAN  # the only mean of a blueprint is over its space


def _frozen(value: Array) -> Array:
    view = value.view()
    view.setflags(write=False)
    return view
