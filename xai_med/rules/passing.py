"""The pass rule: an operation hands its relevance on unchanged, element by element."""

import math
from dataclasses import dataclass

from xai_med.backend.operations import Operation
from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.errors import UnsupportedOperationError
from xai_med.rules.stabilise import carry

_SMALLEST = 1e-30  # below it value / input overflows float32; such an input is treated as zero


@dataclass(frozen=True)
class Pass:
    """``R_in = R_out`` for activations and for a batch norm that follows no convolution.

    An input of exactly zero, a unit that is off, has no evidence that relevance could be passed to: what the
    operation's own constant made of it is lost there, as in a bias, and counted in the lost share.

    References
    ----------
    Achtibat et al. 2024, arXiv:2402.05602, equation 9 (identity rule).
    """

    @property
    def name(self) -> str:
        """Rule and setting."""
        return "pass"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of an element-wise operation."""
        signal = operation.inputs[0]
        if len(operation.inputs) != 1 or shape_of(signal) != shape_of(operation.value):
            raise UnsupportedOperationError(
                f"the rule {self.name} is not for {operation.name} ({operation.kind.value}), which has several signals "
                f"or changes their shape"
            )
        fixed = tensors.stop_gradient(signal)
        is_off = tensors.abs(fixed) < _SMALLEST
        # by infinity, not by one and set to zero afterwards: each pass over memory takes as long as a small layer
        share = tensors.quotient(operation.value, tensors.where(is_off, math.inf, fixed))
        return carry(signal * share, operation.value, tensors)
