"""What a call did with its arguments, kept without their values: enough to ask later where each value went."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xai_med.backend.framework import Framework
from xai_med.backend.operations import Call, Kind
from xai_med.backend.record import Node
from xai_med.backend.tensors import Tensor, is_floating, shape_of
from xai_med.backend.tracing.weak import TensorMap

MOVING = frozenset({Kind.ROUTING, Kind.CONCATENATE, Kind.MATMUL, Kind.ATTENTION})
"""Kinds whose result depends on which argument is the signal, or on arguments that only the call itself shows."""


@dataclass(frozen=True)
class Constant:
    """Stands for an argument of floating dtype that does not depend on the input, such as a class token."""

    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Move:
    """One call with its floating tensors left out; indices and masks stay, as they say what goes where.

    Parameters
    ----------
    function : callable
        The function that was called.
    args, kwargs
        Its arguments, with the producers of signals, and `Constant` for other floating tensors, in their place.
    writes_in_place : bool
        Whether the result is the first argument, written into.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    writes_in_place: bool

    def operands(self) -> Iterator[Node | Constant]:
        """The floating tensors among the arguments, in the order of the call."""
        for value in (*self.args, *self.kwargs.values()):
            for item in value if isinstance(value, list | tuple) else (value,):
                if isinstance(item, Node | Constant):
                    yield item

    def replay(self, tensor_of: Callable[[Node | Constant], Tensor]) -> Any:
        """Call the function again with other tensors of the same shapes."""

        def filled(value: Any) -> Any:
            if isinstance(value, Node | Constant):
                return tensor_of(value)
            return type(value)(map(filled, value)) if type(value) in (list, tuple) else value

        args = tuple(map(filled, self.args))
        result = self.function(*args, **{name: filled(value) for name, value in self.kwargs.items()})
        return args[0] if self.writes_in_place and args else result


def record_move(call: Call, parents: tuple[Node, ...], nodes: TensorMap[Node], framework: Framework) -> Move | None:
    """Keep what a call of a kind in `MOVING` did; None where that depends on values, such as of a computed index.

    Parameters
    ----------
    call, parents
        The call, and the producers of its signals.
    nodes : TensorMap of Node
        The record, as far as it goes.
    framework : Framework
        Of the model.
    """
    if call.kind is Kind.CONCATENATE and call.args and len(call.args[0]) == len(parents):  # signals only
        return Move(call.function, (parents, *call.args[1:]), call.kwargs, writes_in_place=False)
    depends_on_values = False
    is_tensor, dtype_of = framework.is_tensor, framework.tensors.dtype

    def emptied(value: Any) -> Any:
        nonlocal depends_on_values
        if is_tensor(value):
            node = nodes.get(value)
            floating = is_floating(dtype_of(value))
            if node is not None:
                depends_on_values |= not floating
                return node
            return Constant(shape_of(value)) if floating else value
        return type(value)(map(emptied, value)) if type(value) in (list, tuple) else value

    args = tuple(map(emptied, call.args))
    kwargs = {name: emptied(value) for name, value in call.kwargs.items()} if call.kwargs else {}
    return None if depends_on_values else Move(call.function, args, kwargs, call.writes_in_place)
