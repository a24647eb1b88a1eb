"""Parameters and buffers of a PaddlePaddle model: initialised, in memory, on one device, finite."""

from collections.abc import Iterator, Mapping
from math import prod
from operator import attrgetter
from typing import Any

import paddle
from paddle import _C_ops

from xai_med.backend.framework import Inventory
from xai_med.backend.tensors import Tensor, is_floating
from xai_med.errors import ModelError, NonFiniteError
from xai_med_paddle.tensors import dtype_name, place_name

_SUMMED_AS_THEY_ARE = frozenset(("float32", "float64", "complex64", "complex128"))


def check_weights(layers: Mapping[str, Any]) -> Inventory:
    """Look at every parameter and buffer.

    All values are read at each call, as PaddlePaddle does not count writes such as ``set_value``. A sum of finite
    numbers is hardly ever infinite, and a sum with NaN or infinity is never finite: so one sum is asked of each
    tensor, one of all vectors together, and value by value is looked at only where a sum is not finite.

    Parameters
    ----------
    layers : mapping of str to Layer
        All parts of the model by dotted name.

    Raises
    ------
    ModelError
        A tensor is not initialised, or lies on another device.
    NonFiniteError
        A weight is NaN or infinite.
    """
    tensors = _tensors(layers)
    held = [tensor for tensor in tensors if tensor._is_initialized()]
    if len(held) < len(tensors):
        _refuse_without_memory(layers)
    if held and not all(map(held[0].place._equals, map(_place_of, held))):
        places = sorted({place_name(tensor.place) for tensor in held})
        raise ModelError(f"the model is spread over {places}; put it on one device")
    dtypes: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        dtypes.setdefault(dtype_name(tensor.dtype), []).append(tensor)
    floating = {dtype: group for dtype, group in dtypes.items() if is_floating(dtype)}
    with paddle.no_grad():
        if not all(_have_finite_sums(group, dtype) for dtype, group in floating.items()):
            _refuse_non_finite(layers)
    values = sum(prod(tensor.shape) for group in floating.values() for tensor in group)
    return Inventory(len(tensors), values, tuple(sorted(dtypes)))


_place_of = attrgetter("place")


def _tensors(layers: Mapping[str, Any]) -> list[Tensor]:
    """Each tensor once."""
    tables = [table for layer in layers.values() for table in (layer._parameters, layer._buffers) if table]
    return list({id(tensor): tensor for table in tables for tensor in table.values() if tensor is not None}.values())


def _named(layers: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for prefix, layer in layers.items():
        for name, tensor in (*layer._parameters.items(), *layer._buffers.items()):
            if tensor is not None:
                yield f"{prefix}.{name}" if prefix else name, tensor


def _refuse_without_memory(layers: Mapping[str, Any]) -> None:
    for name, tensor in _named(layers):
        if not tensor._is_initialized() and prod(tensor.shape):
            raise ModelError(f"{name} is not initialised yet (paddle.LazyGuard); load the model's weights")


def _have_finite_sums(tensors: list[Tensor], dtype: str) -> bool:
    """Whether the sum of each tensor, in its own precision, is a finite number."""
    if dtype not in _SUMMED_AS_THEY_ARE:  # half precision is soon infinite, and has few functions on a CPU
        tensors = [tensor.astype("float32") for tensor in tensors]
    vectors = [tensor for tensor in tensors if len(tensor.shape) == 1]
    sums = [_total(tensor) for tensor in tensors if len(tensor.shape) != 1]
    if vectors:  # most tensors, and few values
        sums.append(_total(_C_ops.concat(vectors, 0)))
    return _all_finite(_C_ops.stack(sums, 0))


def _total(tensor: Tensor) -> Tensor:
    # the function beneath paddle.sum, which costs as much as the sum of a small tensor
    return _C_ops.sum(tensor, [], None, False)


def _all_finite(tensor: Tensor) -> bool:
    return bool(_C_ops.isfinite(tensor).numpy().all())


def _refuse_non_finite(layers: Mapping[str, Any]) -> None:
    """Look at each value; a sum may also have overflowed."""
    for name, tensor in _named(layers):
        dtype = dtype_name(tensor.dtype)
        if not is_floating(dtype):
            continue
        if not _all_finite(tensor if dtype in _SUMMED_AS_THEY_ARE else tensor.astype("float32")):
            raise NonFiniteError(
                f"{name} holds NaN or infinite values, so that no map can be trusted; load sound weights"
            )
