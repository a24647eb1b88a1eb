"""PyTorch's implementation of the tensor operations."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor

from xai_med.backend.tensors import Array
from xai_med.errors import DtypeError


class TorchTensors:
    """`Tensors` on ``torch.Tensor``."""

    def einsum(self, equation: str, *operands: torch.Tensor) -> torch.Tensor:
        """Einstein summation."""
        return torch.einsum(equation, *operands)

    def relu(self, tensor: torch.Tensor) -> torch.Tensor:
        """max(x, 0)."""
        return torch.relu(tensor)

    def clip(self, tensor: torch.Tensor, *, low: float | None = None, high: float | None = None) -> torch.Tensor:
        """min(max(x, low), high)."""
        return tensor if low is None and high is None else torch.clamp(tensor, low, high)

    def abs(self, tensor: torch.Tensor) -> torch.Tensor:
        """|x|."""
        return torch.abs(tensor)

    def sqrt(self, tensor: torch.Tensor) -> torch.Tensor:
        """Square root."""
        return torch.sqrt(tensor)

    def exp(self, tensor: torch.Tensor) -> torch.Tensor:
        """Exponential."""
        return torch.exp(tensor)

    def log(self, tensor: torch.Tensor) -> torch.Tensor:
        """Natural logarithm."""
        return torch.log(tensor)

    def sign(self, tensor: torch.Tensor) -> torch.Tensor:
        """-1, 0 or 1."""
        return torch.sign(tensor)

    def where(self, condition: torch.Tensor, if_true: Any, if_false: Any) -> torch.Tensor:
        """Choose by element."""
        return torch.where(condition, if_true, if_false)

    def sum(self, tensor: torch.Tensor, axes: Sequence[int], *, keep: bool = False) -> torch.Tensor:
        """Sum over axes; none means no change."""
        return torch.sum(tensor, tuple(axes), keepdim=keep, dtype=tensor.dtype) if axes else tensor

    def mean(self, tensor: torch.Tensor, axes: Sequence[int], *, keep: bool = False) -> torch.Tensor:
        """Mean over axes."""
        return torch.mean(tensor, tuple(axes), keepdim=keep) if axes else tensor

    def amax(self, tensor: torch.Tensor, axes: Sequence[int], *, keep: bool = False) -> torch.Tensor:
        """Largest value over axes."""
        return torch.amax(tensor, tuple(axes), keepdim=keep) if axes else tensor

    def amin(self, tensor: torch.Tensor, axes: Sequence[int], *, keep: bool = False) -> torch.Tensor:
        """Smallest value over axes."""
        return torch.amin(tensor, tuple(axes), keepdim=keep) if axes else tensor

    def argmax(self, tensor: torch.Tensor, axis: int) -> torch.Tensor:
        """Index of the first largest value."""
        size = tensor.shape[axis]
        shape = [1] * tensor.ndim
        shape[axis] = size
        # torch.argmax does not promise which of several equal values it names
        index = torch.arange(size, device=tensor.device).reshape(shape)
        is_largest = tensor == torch.amax(tensor, axis, keepdim=True)
        return torch.amin(torch.where(is_largest, index, size), axis)

    def stack(self, tensors: Sequence[torch.Tensor], axis: int) -> torch.Tensor:
        """Join along a new axis."""
        return torch.stack(list(tensors), dim=axis)

    def collect(self, tensors: Iterable[torch.Tensor], count: int, axis: int) -> torch.Tensor:
        """Write each to its place as it comes; with derivatives, stack them."""
        pending = iter(tensors)
        first = next(pending)
        if first.requires_grad:
            return torch.stack([first, *pending], dim=axis)
        shape = list(first.shape)
        shape.insert(axis % (first.ndim + 1), count)
        collected = first.new_empty(shape)
        for position, tensor in enumerate(chain([first], pending)):
            collected.select(axis, position).copy_(tensor)
        return collected

    def concatenate(self, tensors: Sequence[torch.Tensor], axis: int) -> torch.Tensor:
        """Join along an existing axis."""
        return torch.cat(list(tensors), dim=axis)

    def reshape(self, tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        """Row-major reshape."""
        return torch.reshape(tensor, tuple(shape))

    def transpose(self, tensor: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
        """Permute axes."""
        return torch.permute(tensor, tuple(order))

    def broadcast(self, tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        """Repeat axes of size 1."""
        return torch.broadcast_to(tensor, tuple(shape))

    def take(self, tensor: torch.Tensor, indices: Sequence[int], axis: int) -> torch.Tensor:
        """Select along one axis."""
        chosen = torch.as_tensor(np.asarray(indices, dtype=np.int64), device=tensor.device)
        return torch.index_select(tensor, axis, chosen)

    def stop_gradient(self, tensor: torch.Tensor) -> torch.Tensor:
        """Detach."""
        return tensor.detach()

    def carry(self, surrogate: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Overwrite the surrogate's values out of sight of its derivatives; one pass over memory instead of two."""
        if not surrogate.requires_grad:
            return value.clone()
        surrogate.detach().copy_(value)
        return surrogate

    def quotient(self, numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
        """Divide into the denominator's memory: new memory takes longer to get than the division."""
        return torch.div(numerator.detach(), denominator.detach(), out=denominator.detach())

    def rectify_cotangent(self, tensor: torch.Tensor) -> torch.Tensor:
        """Let only the positive part of a cotangent through."""
        rectified: torch.Tensor = RectifiedCotangent.apply(tensor)  # type: ignore[no-untyped-call]
        return rectified

    def from_numpy(self, array: Array, like: torch.Tensor) -> torch.Tensor:
        """Copy; floating kinds take the dtype of `like`."""
        dtype = like.dtype if array.dtype.kind == "f" else None
        return torch.tensor(np.asarray(array), dtype=dtype, device=like.device)

    def to_numpy(self, tensor: torch.Tensor) -> Array:
        """Copy; bfloat16 becomes float32."""
        if tensor.is_meta or isinstance(tensor, FakeTensor):
            raise DtypeError("tensors on the meta device and FakeTensors hold no values; give real ones")
        values = tensor.detach()
        if values.layout is not torch.strided:
            values = values.to_dense()
        if values.dtype is torch.bfloat16:
            values = values.float()
        return np.array(values.cpu().numpy())

    def dtype(self, tensor: torch.Tensor) -> str:
        """Name of the dtype."""
        return _name(tensor.dtype)

    def cast(self, tensor: torch.Tensor, dtype: str) -> torch.Tensor:
        """Convert."""
        return tensor.to(getattr(torch, dtype))

    def device(self, tensor: torch.Tensor) -> str:
        """Name of the device."""
        return str(tensor.device)


class RectifiedCotangent(torch.autograd.Function):
    """The same values; only the positive part of a cotangent passes."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:  # noqa: ARG004 (nothing is saved)
        """Copy, as the model may write into the result."""
        return tensor.clone()

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> torch.Tensor:  # noqa: ARG004
        """Rectify."""
        return cotangent.clamp(min=0)


@lru_cache(maxsize=64)
def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


TENSORS = TorchTensors()
