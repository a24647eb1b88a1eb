"""What a call did with its arguments, kept without their values: enough to ask later where each value went."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xai_med.backend.framework import Framework
from xai_med.backend.operations import Call, Kind
from xai_med.backend.tensors import Tensor, is_floating, shape_of
from xai_med.backend.tracing.weak import TensorMap

if TYPE_CHECKING:
    from xai_med.backend.record import Node

MOVING = frozenset({Kind.ROUTING, Kind.CONCATENATE, Kind.MATMUL, Kind.ATTENTION})
"""Kinds whose result depends on which argument is the signal, or on arguments that only the call itself shows."""


@dataclass(frozen=True, eq=False)
class Signal:
    """Stands for an argument that depends on the network's input."""

    node: "Node"


@dataclass(frozen=True)
class Constant:
    """Stands for an argument of floating dtype that does not, such as a class token."""

    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Move:
    """One call with its floating tensors left out; indices and masks stay, as they say what goes where.

    Parameters
    ----------
    function : callable
        The function that was called.
    args, kwargs
        Its arguments, with `Signal` and `Constant` in place of floating tensors.
    writes_in_place : bool
        Whether the result is the first argument, written into.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    writes_in_place: bool

    def operands(self) -> Iterator[Signal | Constant]:
        """The floating tensors among the arguments, in the order of the call."""
        for value in (*self.args, *self.kwargs.values()):
            for item in value if isinstance(value, list | tuple) else (value,):
                if isinstance(item, Signal | Constant):
                    yield item

    def replay(self, tensor_of: Callable[[Signal | Constant], Tensor]) -> Any:
        """Call the function again with other tensors of the same shapes."""

        def filled(value: Any) -> Any:
            if isinstance(value, Signal | Constant):
                return tensor_of(value)
            return type(value)(map(filled, value)) if type(value) in (list, tuple) else value

        args = tuple(map(filled, self.args))
        result = self.function(*args, **{name: filled(value) for name, value in self.kwargs.items()})
        return args[0] if self.writes_in_place and args else result


def record_move(call: Call, nodes: "TensorMap[Node]", framework: Framework) -> Move | None:
    """Keep what a call did; None where that depends on values of the signal, such as an index computed from it."""
    if call.kind not in MOVING:
        return None
    depends_on_values = False

    def emptied(value: Any) -> Any:
        nonlocal depends_on_values
        if framework.is_tensor(value):
            node = nodes.get(value)
            floating = is_floating(framework.tensors.dtype(value))
            depends_on_values |= node is not None and not floating
            if node is not None:
                return Signal(node)
            return Constant(shape_of(value)) if floating else value
        return type(value)(map(emptied, value)) if type(value) in (list, tuple) else value

    args = tuple(map(emptied, call.args))
    kwargs = {name: emptied(value) for name, value in call.kwargs.items()}
    return None if depends_on_values else Move(call.function, args, kwargs, call.writes_in_place)
