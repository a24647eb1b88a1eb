"""NumPy's implementation of the tensor operations: the reference for every other backend."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from xai_med.backend.tensors import Array


class NumpyTensors:
    """`Tensors` on plain arrays; nothing is differentiable, so `stop_gradient` only copies."""

    def einsum(self, equation: str, *operands: Array) -> Array:
        """Einstein summation."""
        return np.asarray(np.einsum(equation, *operands, optimize=len(operands) > 1))  # by matrix products

    def relu(self, tensor: Array) -> Array:
        """max(x, 0)."""
        return np.maximum(tensor, 0)

    def clip(self, tensor: Array, *, low: float | None = None, high: float | None = None) -> Array:
        """min(max(x, low), high)."""
        return np.asarray(np.clip(tensor, low, high))

    def abs(self, tensor: Array) -> Array:
        """|x|."""
        return np.abs(tensor)

    def sqrt(self, tensor: Array) -> Array:
        """Square root."""
        return np.sqrt(tensor)

    def exp(self, tensor: Array) -> Array:
        """Exponential."""
        return np.exp(tensor)

    def log(self, tensor: Array) -> Array:
        """Natural logarithm."""
        with np.errstate(divide="ignore"):
            return np.log(tensor)

    def sign(self, tensor: Array) -> Array:
        """-1, 0 or 1."""
        return np.sign(tensor)

    def where(self, condition: Array, if_true: Any, if_false: Any) -> Array:
        """Choose by element."""
        return np.asarray(np.where(condition, if_true, if_false))

    def sum(self, tensor: Array, axes: Sequence[int], *, keep: bool = False) -> Array:
        """Sum over axes."""
        return np.asarray(np.sum(tensor, axis=tuple(axes), keepdims=keep, dtype=tensor.dtype))

    def mean(self, tensor: Array, axes: Sequence[int], *, keep: bool = False) -> Array:
        """Mean over axes."""
        return np.asarray(np.mean(tensor, axis=tuple(axes), keepdims=keep))

    def amax(self, tensor: Array, axes: Sequence[int], *, keep: bool = False) -> Array:
        """Largest value over axes."""
        return np.asarray(np.max(tensor, axis=tuple(axes), keepdims=keep))

    def amin(self, tensor: Array, axes: Sequence[int], *, keep: bool = False) -> Array:
        """Smallest value over axes."""
        return np.asarray(np.min(tensor, axis=tuple(axes), keepdims=keep))

    def argmax(self, tensor: Array, axis: int) -> Array:
        """Index of the first largest value."""
        return np.asarray(np.argmax(tensor, axis=axis))

    def stack(self, tensors: Sequence[Array], axis: int) -> Array:
        """Join along a new axis."""
        return np.stack(tensors, axis=axis)

    def collect(self, tensors: Iterable[Array], count: int, axis: int) -> Array:  # noqa: ARG002 (the list tells)
        """Join along a new axis."""
        return np.stack(list(tensors), axis=axis)

    def concatenate(self, tensors: Sequence[Array], axis: int) -> Array:
        """Join along an existing axis."""
        return np.concatenate(tensors, axis=axis)

    def reshape(self, tensor: Array, shape: Sequence[int]) -> Array:
        """Row-major reshape."""
        return np.reshape(tensor, tuple(shape))

    def transpose(self, tensor: Array, order: Sequence[int]) -> Array:
        """Permute axes."""
        return np.transpose(tensor, tuple(order))

    def broadcast(self, tensor: Array, shape: Sequence[int]) -> Array:
        """Repeat axes of size 1."""
        return np.broadcast_to(tensor, tuple(shape))

    def take(self, tensor: Array, indices: Sequence[int], axis: int) -> Array:
        """Select along one axis."""
        return np.take(tensor, np.asarray(indices, dtype=np.int64), axis=axis)

    def stop_gradient(self, tensor: Array) -> Array:
        """Return the values unchanged."""
        return tensor

    def carry(self, surrogate: Array, value: Array) -> Array:  # noqa: ARG002 (nothing has derivatives)
        """The values alone."""
        return np.array(value)

    def quotient(self, numerator: Array, denominator: Array) -> Array:
        """Element by element."""
        return np.asarray(numerator / denominator)

    def rectify_cotangent(self, tensor: Array) -> Array:
        """Return the values unchanged."""
        return tensor

    def from_numpy(self, array: Array, like: Array) -> Array:
        """Copy; floating kinds take the dtype of `like`."""
        return np.array(array, dtype=like.dtype if array.dtype.kind == "f" else array.dtype)

    def to_numpy(self, tensor: Array) -> Array:
        """Copy."""
        return np.array(tensor)

    def dtype(self, tensor: Array) -> str:
        """Name of the dtype."""
        return str(tensor.dtype)

    def cast(self, tensor: Array, dtype: str) -> Array:
        """Convert."""
        return tensor.astype(dtype)

    def device(self, tensor: Array) -> str:  # noqa: ARG002 (the protocol's argument; NumPy has one device)
        """Return ``"cpu"``."""
        return "cpu"


NUMPY = NumpyTensors()
