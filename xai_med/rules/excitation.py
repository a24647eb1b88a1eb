"""Excitation backpropagation: probabilities of winning, in proportion to what excites.

The paper's neurons are nowhere negative, and what excites is ``a_i w_ij`` with a weight above zero. For a neuron or
pixel below zero, of which the paper says nothing, ``[a_i w_ij]+`` is taken: what adds to the output excites. No share
is ever negative, and no bias has one.
"""

import math
from dataclasses import dataclass

from xai_med.backend.operations import Kind, Operation
from xai_med.backend.tensors import Tensor, Tensors
from xai_med.rules.applicable import refuse_other_kinds
from xai_med.rules.contributions import negated, positive_contributions
from xai_med.rules.stabilise import carry

_SUMS = frozenset({Kind.ADD, Kind.SUM, Kind.MEAN, Kind.AVERAGE_POOL})
_SMALLEST = 1e-30  # below it value / excitation overflows float32; so little excites nothing


@dataclass(frozen=True)
class Excitation:
    """``P(i | j) = [a_i w_ij]+ / sum_i [a_i w_ij]+``, for layers with weights; nothing where nothing excites.

    Parameters
    ----------
    epsilon : float
        Stabiliser; the paper has none.

    References
    ----------
    Zhang et al. 2016, arXiv:1608.00507, equation 5.
    """

    epsilon: float = 0.0

    @property
    def name(self) -> str:
        """Rule and setting."""
        return f"excitation({self.epsilon:g})"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of a convolution or linear map."""
        excitation = positive_contributions(operation, tensors, rule=self.name, biased=False)
        return carry(_shares(excitation, operation, self.epsilon, tensors), operation.value, tensors)


@dataclass(frozen=True)
class ContrastiveExcitation:
    """``P(i | j) - P(i | dual of j)``, where the dual unit has the weights ``-w_ij``; for the layer of the classes.

    References
    ----------
    Zhang et al. 2016, arXiv:1608.00507, section 3.4.
    """

    epsilon: float = 0.0

    @property
    def name(self) -> str:
        """Rule and setting."""
        return f"contrastive excitation({self.epsilon:g})"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of a convolution or linear map."""
        excitations = (
            positive_contributions(each, tensors, rule=self.name, biased=False)
            for each in (operation, negated(operation))
        )
        unit, dual = (_shares(excitation, operation, self.epsilon, tensors) for excitation in excitations)
        return carry(unit - dual, operation.value, tensors)


@dataclass(frozen=True)
class ExcitationShare:
    """``P(i | j) = [c_ij]+ / sum_i [c_ij]+`` for the terms ``c_ij`` of an addition, a mean or an average pool.

    These are layers with fixed weights: each term's contribution is itself, or its negative where it is subtracted.
    """

    epsilon: float = 0.0

    @property
    def name(self) -> str:
        """Rule and setting."""
        return f"excitation share({self.epsilon:g})"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of a sum or mean."""
        refuse_other_kinds(operation, _SUMS, self.name)
        if operation.kind is Kind.ADD:
            terms = [tensors.relu(_alone(operation, position, tensors)) for position in range(len(operation.inputs))]
            excitation = sum(terms[1:], start=terms[0])
        else:
            excitation = operation.apply(*(tensors.relu(signal) for signal in operation.inputs))
        return carry(_shares(excitation, operation, self.epsilon, tensors), operation.value, tensors)


def _shares(excitation: Tensor, operation: Operation, epsilon: float, tensors: Tensors) -> Tensor:
    """Each part of an excitation as its share of the output's value; none of what is nowhere above zero."""
    fixed = tensors.stop_gradient(excitation)
    denominator = tensors.where(fixed < _SMALLEST, math.inf, fixed + epsilon)
    return excitation * tensors.quotient(operation.value, denominator)


def _alone(operation: Operation, position: int, tensors: Tensors) -> Tensor:
    """What one term of a sum contributes: the sum where all other terms are zero."""
    signals = operation.inputs
    return operation.apply(*(x if n == position else tensors.stop_gradient(x) * 0 for n, x in enumerate(signals)))
