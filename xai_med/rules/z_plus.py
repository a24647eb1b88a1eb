"""LRP-z+ (alpha 1, beta 0) for convolutions, also for inputs of either sign."""

from dataclasses import dataclass

from xai_med.backend.operations import Operation
from xai_med.backend.tensors import Tensor, Tensors
from xai_med.rules.contributions import positive_contributions
from xai_med.rules.stabilise import redistribute


@dataclass(frozen=True)
class ZPlus:
    """Relevance in proportion to positive contributions: ``[a]+[w]+ + [a]-[w]-``.

    The positive bias stays in the denominator and keeps its share. For inputs that are nowhere negative only the
    first term lives; the popular shortcut ``a [w]+`` is wrong for any other input.

    References
    ----------
    Montavon et al. 2017, arXiv:1512.02479, section 4.1; Bach et al. 2015, equation 60 with alpha 1, beta 0.
    """

    epsilon: float = 1e-6

    @property
    def name(self) -> str:
        """Rule and setting."""
        return f"z_plus({self.epsilon:g})"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of a convolution or linear map."""
        positive = positive_contributions(operation, tensors, rule=self.name)
        return redistribute(positive, operation.value, self.epsilon, tensors, is_positive=True)
