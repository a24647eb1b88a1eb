"""The abstract tensor backend: few operations, each with one meaning, the same in every framework."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Tensor: TypeAlias = Any
"""A native tensor of whichever framework; supports ``+ - * /``, unary ``-``, ``shape`` and comparison."""

Array: TypeAlias = NDArray[Any]


class Tensors(Protocol):
    """Operations on native tensors that rules, methods and kernels are written with.

    Every operation is out of place, n-dimensional and differentiable where the mathematics is. Axes may be
    negative. Nothing broadcasts except arithmetic operators and `where`, which broadcast as NumPy does.
    The conformance kit (`xai_med.testing.check_backend`) compares each with the NumPy implementation.
    """

    def einsum(self, equation: str, *operands: Tensor) -> Tensor:
        """Sum of products in Einstein's notation; an ellipsis stands for any further axes."""
        ...

    def relu(self, tensor: Tensor) -> Tensor:
        """max(x, 0); the derivative at 0 is 0."""
        ...

    def clip(self, tensor: Tensor, *, low: float | None = None, high: float | None = None) -> Tensor:
        """min(max(x, low), high)."""
        ...

    def abs(self, tensor: Tensor) -> Tensor:
        """|x|; the derivative at 0 is 0."""
        ...

    def sqrt(self, tensor: Tensor) -> Tensor:
        """Square root of each element."""
        ...

    def exp(self, tensor: Tensor) -> Tensor:
        """Exponential of each element."""
        ...

    def log(self, tensor: Tensor) -> Tensor:
        """Natural logarithm of each element; minus infinity at 0."""
        ...

    def sign(self, tensor: Tensor) -> Tensor:
        """-1, 0 or 1."""
        ...

    def where(self, condition: Tensor, if_true: Tensor | float, if_false: Tensor | float) -> Tensor:
        """Choose by element; at least one of the two is a tensor, and the result has its dtype."""
        ...

    def sum(self, tensor: Tensor, axes: Sequence[int], *, keep: bool = False) -> Tensor:
        """Sum over `axes`, in the dtype of the tensor; `keep` leaves them with size 1."""
        ...

    def mean(self, tensor: Tensor, axes: Sequence[int], *, keep: bool = False) -> Tensor:
        """Arithmetic mean over `axes`."""
        ...

    def amax(self, tensor: Tensor, axes: Sequence[int], *, keep: bool = False) -> Tensor:
        """Largest value over `axes`."""
        ...

    def amin(self, tensor: Tensor, axes: Sequence[int], *, keep: bool = False) -> Tensor:
        """Smallest value over `axes`."""
        ...

    def argmax(self, tensor: Tensor, axis: int) -> Tensor:
        """Index of the largest value along one axis, int64; the lowest index among equals."""
        ...

    def stack(self, tensors: Sequence[Tensor], axis: int) -> Tensor:
        """Join along a new axis."""
        ...

    def collect(self, tensors: Iterable[Tensor], count: int, axis: int) -> Tensor:
        """Join `count` tensors of one shape along a new axis, which need not all be there at once."""
        ...

    def concatenate(self, tensors: Sequence[Tensor], axis: int) -> Tensor:
        """Join along an existing axis."""
        ...

    def reshape(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """Give another shape, row-major; one size may be -1."""
        ...

    def transpose(self, tensor: Tensor, order: Sequence[int]) -> Tensor:
        """Permute all axes."""
        ...

    def broadcast(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """Repeat axes of size 1, and add leading axes, up to `shape`."""
        ...

    def take(self, tensor: Tensor, indices: Sequence[int], axis: int) -> Tensor:
        """Select entries along one axis, in the order given, repetition allowed."""
        ...

    def stop_gradient(self, tensor: Tensor) -> Tensor:
        """Return the same values; derivatives end here."""
        ...

    def carry(self, surrogate: Tensor, value: Tensor) -> Tensor:
        """Return exactly the values of `value` with the derivatives of `surrogate`, whose memory may be taken."""
        ...

    def quotient(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        """Divide values of one shape and dtype, without derivatives; the denominator's memory may be taken."""
        ...

    def rectify_cotangent(self, tensor: Tensor) -> Tensor:
        """Return the same values; a cotangent that comes back is replaced by its positive part."""
        ...

    def from_numpy(self, array: Array, like: Tensor) -> Tensor:
        """Copy an array to the device of `like`; floating arrays take the dtype of `like`."""
        ...

    def to_numpy(self, tensor: Tensor) -> Array:
        """Copy to a NumPy array of the same dtype; half-precision kinds NumPy lacks become float32."""
        ...

    def dtype(self, tensor: Tensor) -> str:
        """NumPy's name of the dtype, or ``"bfloat16"``."""
        ...

    def cast(self, tensor: Tensor, dtype: str) -> Tensor:
        """Convert to another dtype, named as `dtype` names it; differentiable between floating kinds."""
        ...

    def device(self, tensor: Tensor) -> str:
        """Where the tensor lives, such as ``"cpu"`` or ``"cuda:0"``."""
        ...


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """Sizes of a native tensor as plain integers."""
    return tuple(tensor.shape)


def precision(dtype: str) -> float:
    """Distance from 1 to the next number of a floating dtype, named as `Tensors.dtype` names it."""
    return 2.0**-7 if dtype == "bfloat16" else float(np.finfo(dtype).eps)


@lru_cache(maxsize=256)
def is_floating(dtype: str) -> bool:
    """Whether a dtype name, as `Tensors.dtype` gives it, is a kind of floating point."""
    if dtype in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        return True
    try:
        return np.dtype(dtype).kind in "fc"
    except TypeError:
        return False  # a quantised kind, which NumPy does not know
