"""LRP-gamma: positive contributions count for more, for inputs and outputs of either sign."""

from dataclasses import dataclass

from xai_med.backend.operations import Operation
from xai_med.backend.tensors import Tensor, Tensors
from xai_med.errors import SettingError
from xai_med.rules.contributions import positive_contributions
from xai_med.rules.stabilise import redistribute


@dataclass(frozen=True)
class Gamma:
    """``z_ij + gamma [z_ij]+`` to outputs above zero, ``z_ij + gamma [z_ij]-`` to those below, ``z_ij = a_i w_ij``.

    This is the generalised rule of Andéol et al.: what speaks for an output's own sign is favoured, so that the
    denominator, with the bias as one more input of value one, has the output's sign and is larger than it. Where
    inputs are nowhere negative and the output is positive, it is the original rule, weights ``w + gamma [w]+``
    (Montavon et al.); for an output below zero, which no ReLU lets through, the original's denominator could be of
    either sign. With gamma 0 it is the epsilon rule; with gamma going to infinity, and outputs above zero, z+.

    Parameters
    ----------
    gamma : float
        How much more; at least 0.
    epsilon : float
        Stabiliser.

    Raises
    ------
    SettingError
        `gamma` is negative or infinite.

    References
    ----------
    Montavon et al. 2019, doi:10.1007/978-3-030-28954-6_10, section 10.2.3; Andéol et al. 2021, arXiv:2106.04923,
    the generalised form.
    """

    gamma: float = 0.25
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < float("inf"):
            raise SettingError(f"gamma must be a number of at least 0, got {self.gamma!r}")

    @property
    def name(self) -> str:
        """Rule and settings."""
        return f"gamma({self.gamma:g}, {self.epsilon:g})"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of a convolution or linear map."""
        positive = positive_contributions(operation, tensors, rule=self.name)
        whole = operation.apply(*operation.inputs)
        # what is not positive is negative, and the larger of the two where the output is below zero: no cancellation
        favoured = tensors.where(operation.value > 0, positive, whole - positive)
        return redistribute(whole + favoured * self.gamma, operation.value, self.epsilon, tensors)
