"""The pass rule: an operation hands its relevance on unchanged, element by element."""

from dataclasses import dataclass

from xai_med.backend.operations import Operation
from xai_med.backend.tensors import Tensor, Tensors
from xai_med.rules.stabilise import redistribute


@dataclass(frozen=True)
class Pass:
    """``R_in = R_out`` for activations and for a batch norm that follows no convolution.

    Where the input is exactly zero there is nothing to pass the relevance to, and it is lost (and reported).

    References
    ----------
    Achtibat et al. 2024, arXiv:2402.05602, equation 9 (identity rule).
    """

    epsilon: float = 1e-6

    @property
    def name(self) -> str:
        """Rule and setting."""
        return f"pass({self.epsilon:g})"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of an element-wise operation."""
        return redistribute(operation.inputs[0], operation.value, self.epsilon, tensors)
