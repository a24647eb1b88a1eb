"""LRP-alpha-beta: positive and negative contributions are handed relevance apart."""

from collections.abc import Callable
from dataclasses import dataclass

from xai_med.backend.operations import Operation
from xai_med.backend.tensors import Tensor, Tensors
from xai_med.errors import SettingError
from xai_med.rules.contributions import negative_contributions, positive_contributions
from xai_med.rules.stabilise import carry, stabilise


@dataclass(frozen=True)
class AlphaBeta:
    """``R_i = sum_j (alpha [z_ij]+ / z_j+ - beta [z_ij]- / z_j-) R_j`` with ``z_ij = a_i w_ij``, for signed inputs.

    ``z_j+`` sums the positive contributions and the positive bias, ``z_j-`` the negative ones and the negative bias,
    so that biases keep their shares. An output whose contributions are all of one sign hands on alpha times, or minus
    beta times, its relevance: alpha - beta = 1 conserves only where there are both. With alpha 1 and beta 0 it is z+.

    Parameters
    ----------
    alpha, beta : float
        At least 0, and alpha - beta = 1.
    epsilon : float
        Stabiliser, added with the sign of each denominator.

    Raises
    ------
    SettingError
        Another alpha or beta.

    References
    ----------
    Bach et al. 2015, doi:10.1371/journal.pone.0130140, equation 60.
    """

    alpha: float = 2.0
    beta: float = 1.0
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if not (self.beta >= 0 and abs(self.alpha - self.beta - 1) <= 1e-12 * max(1.0, self.alpha)):
            raise SettingError(
                f"alpha - beta must be 1 and beta at least 0, got alpha={self.alpha!r}, beta={self.beta!r}"
            )

    @property
    def name(self) -> str:
        """Rule and settings."""
        return f"alpha_beta({self.alpha:g}, {self.beta:g}, {self.epsilon:g})"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of a convolution or linear map."""

        def shares(contributions: Callable[..., Tensor], factor: float) -> Tensor:
            """Contributions of one sign as shares of the output's value, times a factor."""
            parts = contributions(operation, tensors, rule=self.name)
            denominator = stabilise(parts, self.epsilon, tensors)
            return parts * (tensors.quotient(operation.value, denominator) * factor)

        surrogate = shares(positive_contributions, self.alpha)
        if self.beta:
            surrogate = surrogate - shares(negative_contributions, self.beta)
        return carry(surrogate, operation.value, tensors)
