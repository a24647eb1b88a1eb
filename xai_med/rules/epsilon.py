"""LRP-epsilon for linear maps."""

from dataclasses import dataclass

from xai_med.backend.operations import Operation
from xai_med.backend.tensors import Tensor, Tensors
from xai_med.rules.applicable import HOMOGENEOUS, refuse_other_kinds
from xai_med.rules.stabilise import redistribute


@dataclass(frozen=True)
class Epsilon:
    """``R_i = sum_j a_i w_ij / (z_j + epsilon sign z_j) R_j``; the bias stays in ``z_j`` and keeps its share.

    References
    ----------
    Bach et al. 2015, doi:10.1371/journal.pone.0130140, equation 58.
    """

    epsilon: float = 1e-6  # as in the published EpsilonPlus; larger values swallow weak evidence

    @property
    def name(self) -> str:
        """Rule and setting."""
        return f"epsilon({self.epsilon:g})"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of a linear map or convolution."""
        refuse_other_kinds(operation, HOMOGENEOUS, self.name)
        return redistribute(operation.apply(*operation.inputs), operation.value, self.epsilon, tensors)
