"""The share rule: sums and means hand relevance to their terms in proportion."""

from dataclasses import dataclass

from xai_med.backend.operations import Operation
from xai_med.backend.tensors import Tensor, Tensors
from xai_med.rules.applicable import HOMOGENEOUS, refuse_other_kinds
from xai_med.rules.stabilise import redistribute


@dataclass(frozen=True)
class Share:
    """``R_i = a_i w_i / (z + epsilon sign z) R`` for additions and average pools, whose weights are fixed.

    Terms (3, -1) with relevance 1 get (1.5, -0.5). Almost cancelling terms get large shares of either sign; the
    relevance that arrives is itself proportional to their small sum in trained networks.

    References
    ----------
    Bach et al. 2015, equation 58 with unit weights; ``Norm`` in the EpsilonPlus composite.
    """

    epsilon: float = 1e-6

    @property
    def name(self) -> str:
        """Rule and setting."""
        return f"share({self.epsilon:g})"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of a sum or mean."""
        refuse_other_kinds(operation, HOMOGENEOUS, self.name)
        return redistribute(operation.apply(*operation.inputs), operation.value, self.epsilon, tensors)
