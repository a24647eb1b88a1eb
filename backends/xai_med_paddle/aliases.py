"""Which tensors of a running model share memory, and which of them have wrong derivatives after a write.

PyTorch's graph follows a write through a view into all tensors that share the memory. PaddlePaddle's does not: the
values of the others change, their derivatives stay those of the old values, and nothing says so.
"""

import weakref
from typing import Any

import paddle

from xai_med.backend.operations import Call, Kind
from xai_med.backend.tracing.weak import TensorMap
from xai_med.errors import UnsupportedOperationError

MAY_SHARE = frozenset({Kind.RESHAPE, Kind.PERMUTE, Kind.ROUTING, Kind.DETACH, Kind.UNKNOWN})
"""Kinds of operations whose result may have the memory of their first argument."""

# views also where a rule has put another tensor in the place of the argument
_VIEWS = frozenset(
    "reshape flatten squeeze unsqueeze transpose _getitem_dygraph slice strided_slice unbind view_shape view_dtype "
    "as_strided detach data".split()
)


class Aliases:
    """Groups of tensors that share memory, for one run of a model."""

    def __init__(self) -> None:
        self._groups: TensorMap[list[weakref.ref[Any]]] = TensorMap()
        self._spoiled: TensorMap[str] = TensorMap()
        self.are_spoiled = False

    def check(self, call: Call) -> None:
        """Refuse a call that uses a tensor whose memory was written through another one, where `are_spoiled`."""
        for tensor in _tensors((*call.args, *call.kwargs.values())):
            writer = self._spoiled.get(tensor)
            if writer is not None:
                raise UnsupportedOperationError(
                    f"{call.name} uses a tensor that {writer} has written through another one with the same memory (a "
                    f"view, or a detached one), where PaddlePaddle's derivatives do not follow; write into the tensor "
                    f"itself, or out of place"
                )

    def note(self, call: Call, result: Any) -> None:
        """Take note of views, and of writes through them."""
        if call.writes_in_place:
            self._spoil(call.args[0], result, call.name)
        elif call.kind in MAY_SHARE and call.args and isinstance(call.args[0], paddle.Tensor):
            source = call.args[0]
            for tensor in _tensors((result,)):
                is_view = call.name in _VIEWS or tensor._is_shared_buffer_with(source)
                if is_view and tensor is not source:
                    self._join(source, tensor)

    def _join(self, source: Any, view: Any) -> None:
        group = self._groups.get(source)
        if group is None:
            group = [weakref.ref(source)]
            self._groups.set(source, group)
        group.append(weakref.ref(view))
        self._groups.set(view, group)

    def _spoil(self, written: Any, result: Any, name: str) -> None:
        others = [reference() for reference in self._groups.get(written) or ()]
        others = [tensor for tensor in others if tensor is not None and tensor is not written and tensor is not result]
        if not paddle.is_grad_enabled() or all(tensor.stop_gradient for tensor in (written, *others)):
            return
        for tensor in others:
            self._spoiled.set(tensor, name)
            self.are_spoiled = True


def _tensors(values: tuple[Any, ...]) -> list[Any]:
    return [
        item
        for value in values
        for item in (value if isinstance(value, list | tuple) else (value,))
        if isinstance(item, paddle.Tensor)
    ]
