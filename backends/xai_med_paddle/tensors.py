"""PaddlePaddle's implementation of the tensor operations."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import paddle

from xai_med.backend.tensors import Array, Tensor


class PaddleTensors:
    """`Tensors` on ``paddle.Tensor``."""

    def einsum(self, equation: str, *operands: Tensor) -> Tensor:
        """Einstein summation."""
        return paddle.einsum(equation, *operands)

    def relu(self, tensor: Tensor) -> Tensor:
        """max(x, 0)."""
        return paddle.nn.functional.relu(tensor)

    def clip(self, tensor: Tensor, *, low: float | None = None, high: float | None = None) -> Tensor:
        """min(max(x, low), high)."""
        if low is None and high is None:
            return tensor
        # paddle.clip puts float32's largest number in place of a missing bound, in float64 as well
        return paddle.clip(tensor, min=-math.inf if low is None else low, max=math.inf if high is None else high)

    def abs(self, tensor: Tensor) -> Tensor:
        """|x|."""
        return paddle.abs(tensor)

    def sqrt(self, tensor: Tensor) -> Tensor:
        """Square root."""
        return paddle.sqrt(tensor)

    def exp(self, tensor: Tensor) -> Tensor:
        """Exponential."""
        return paddle.exp(tensor)

    def log(self, tensor: Tensor) -> Tensor:
        """Natural logarithm."""
        return paddle.log(tensor)

    def sign(self, tensor: Tensor) -> Tensor:
        """-1, 0 or 1."""
        return paddle.sign(tensor)

    def where(self, condition: Tensor, if_true: Any, if_false: Any) -> Tensor:
        """Choose by element."""
        # paddle.where makes float32 of a number, and rounds what stands beside a float64 tensor
        return paddle.where(condition, _beside(if_true, if_false), _beside(if_false, if_true))

    def sum(self, tensor: Tensor, axes: Sequence[int], *, keep: bool = False) -> Tensor:
        """Sum over axes; none means no change."""
        return paddle.sum(tensor, axis=list(axes), keepdim=keep).astype(tensor.dtype) if axes else tensor

    def mean(self, tensor: Tensor, axes: Sequence[int], *, keep: bool = False) -> Tensor:
        """Mean over axes."""
        return paddle.mean(tensor, axis=list(axes), keepdim=keep) if axes else tensor

    def amax(self, tensor: Tensor, axes: Sequence[int], *, keep: bool = False) -> Tensor:
        """Largest value over axes."""
        return self._extreme(paddle.amax, tensor, axes, keep=keep)

    def amin(self, tensor: Tensor, axes: Sequence[int], *, keep: bool = False) -> Tensor:
        """Smallest value over axes."""
        return self._extreme(paddle.amin, tensor, axes, keep=keep)

    def _extreme(self, function: Any, tensor: Tensor, axes: Sequence[int], *, keep: bool) -> Tensor:
        """With derivatives of our own: Paddle's take seconds where a forward pass takes milliseconds."""
        if not axes:
            return tensor
        values = tensor.detach()
        found = function(values, axis=list(axes), keepdim=True)
        value = found if keep else paddle.squeeze(found, axis=list(axes))
        if tensor.stop_gradient or not paddle.is_grad_enabled():
            return value
        holds = values == found
        shares = holds.astype(tensor.dtype)
        shares = shares / paddle.sum(shares, axis=list(axes), keepdim=True)  # places with equal values share it
        chosen = paddle.where(holds, tensor, paddle.zeros_like(values))
        return self.carry(paddle.sum(chosen * shares, axis=list(axes), keepdim=keep), value)

    def argmax(self, tensor: Tensor, axis: int) -> Tensor:
        """Index of the first largest value."""
        size = tensor.shape[axis]
        shape = [1] * tensor.ndim
        shape[axis] = size
        # paddle.argmax does not promise which of several equal values it names
        index = paddle.arange(size, dtype="int64").reshape(shape)
        is_largest = tensor == paddle.amax(tensor, axis=axis, keepdim=True)
        return paddle.amin(self.where(is_largest, index, size), axis=axis)

    def stack(self, tensors: Sequence[Tensor], axis: int) -> Tensor:
        """Join along a new axis."""
        return paddle.stack(list(tensors), axis=axis)

    def collect(self, tensors: Iterable[Tensor], count: int, axis: int) -> Tensor:  # noqa: ARG002 (the list tells)
        """Join along a new axis; a Paddle tensor cannot be written part by part at less cost."""
        return paddle.stack(list(tensors), axis=axis)

    def concatenate(self, tensors: Sequence[Tensor], axis: int) -> Tensor:
        """Join along an existing axis."""
        return paddle.concat(list(tensors), axis=axis)

    def reshape(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """Row-major reshape."""
        return paddle.reshape(tensor, list(shape))

    def transpose(self, tensor: Tensor, order: Sequence[int]) -> Tensor:
        """Permute axes."""
        return paddle.transpose(tensor, [axis % tensor.ndim for axis in order])

    def broadcast(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """Repeat axes of size 1."""
        return paddle.broadcast_to(tensor, list(shape))

    def take(self, tensor: Tensor, indices: Sequence[int], axis: int) -> Tensor:
        """Select along one axis."""
        chosen = from_array(np.asarray(indices, dtype=np.int64), tensor.place)
        return paddle.index_select(tensor, chosen, axis)

    def stop_gradient(self, tensor: Tensor) -> Tensor:
        """Detach."""
        return tensor.detach()

    def carry(self, surrogate: Tensor, value: Tensor) -> Tensor:
        """Overwrite the surrogate's values out of sight of its derivatives; one pass over memory instead of two."""
        if surrogate.stop_gradient:
            return paddle.assign(value.detach())
        # the derivatives of some operations need their result, and those of a product do not; which operation this
        # was is not asked, as each reading of grad_fn leaves its whole graph in memory
        carrier = surrogate * 1
        paddle._C_ops.assign_out_(value, carrier.detach())
        return carrier

    def quotient(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        """Element by element."""
        return numerator.detach() / denominator.detach()

    def rectify_cotangent(self, tensor: Tensor) -> Tensor:
        """Let only the positive part of a cotangent through."""
        if not tensor.stop_gradient:
            tensor.register_hook(paddle.nn.functional.relu)
        return tensor

    def from_numpy(self, array: Array, like: Tensor) -> Tensor:
        """Copy; floating kinds take the dtype of `like`."""
        tensor = from_array(array, like.place)
        return tensor.astype(like.dtype) if array.dtype.kind == "f" else tensor

    def to_numpy(self, tensor: Tensor) -> Array:
        """Copy; bfloat16 becomes float32."""
        values = tensor.detach()
        if values.dtype == paddle.bfloat16:  # NumPy would see its bits as uint16
            values = values.astype("float32")
        return np.array(values.numpy())

    def dtype(self, tensor: Tensor) -> str:
        """Name of the dtype."""
        return dtype_name(tensor.dtype)

    def cast(self, tensor: Tensor, dtype: str) -> Tensor:
        """Convert."""
        return tensor.astype(dtype)

    def device(self, tensor: Tensor) -> str:
        """Name of the device."""
        return place_name(tensor.place)


def from_array(array: Array, place: Any = None) -> Tensor:
    """A tensor with the values of an array, copied; ``paddle.to_tensor`` would lose a list in memory at each call."""
    plain = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    tensor = paddle.empty(plain.shape, dtype=str(plain.dtype))
    if plain.size:
        tensor.set_value(plain)
    return tensor if place is None or str(tensor.place) == str(place) else tensor._copy_to(place, True)


def dtype_name(dtype: Any) -> str:
    """Paddle's name of a dtype, such as ``"float32"``."""
    return _DTYPE_NAMES.get(id(dtype)) or _name_in_full(dtype)


def _name_in_full(dtype: Any) -> str:
    return str(dtype).removeprefix("paddle.")


# by identity, as hash and comparison of Paddle's dtypes take microseconds, and a name is asked for at each operation
_DTYPE_NAMES = {id(dtype): _name_in_full(dtype) for dtype in vars(paddle).values() if isinstance(dtype, paddle.dtype)}


def place_name(place: Any) -> str:
    """Paddle's short name of a place, such as ``"cpu"`` or ``"gpu:0"``."""
    return str(place).removeprefix("Place(").removesuffix(")")


def _beside(value: Any, other: Any) -> Any:
    """A number as a tensor of the dtype of `other`, where that is a tensor."""
    if isinstance(value, paddle.Tensor):
        return value
    return paddle.full([], value, dtype=other.dtype if isinstance(other, paddle.Tensor) else None)


TENSORS = PaddleTensors()
