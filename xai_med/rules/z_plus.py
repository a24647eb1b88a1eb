"""LRP-z+ (alpha 1, beta 0) for convolutions, also for inputs of either sign."""

from dataclasses import dataclass

from xai_med.backend.operations import Operation
from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.errors import UnsupportedOperationError
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
        details, (signal,) = operation.details, operation.inputs
        if details.linear_map is None:
            raise UnsupportedOperationError(f"z_plus needs an operation with weights, {operation.name} has none")
        weight = details.weight
        bias = None if details.bias is None else tensors.relu(details.bias)
        if _is_nowhere_negative(signal, tensors):
            positive = details.linear_map(signal, tensors.relu(weight), bias)
        else:
            positive = details.linear_map(tensors.relu(signal), tensors.relu(weight), bias) + details.linear_map(
                tensors.clip(signal, high=0.0), tensors.clip(weight, high=0.0), None
            )
        return redistribute(positive, operation.value, self.epsilon, tensors, is_positive=True)


def _is_nowhere_negative(signal: Tensor, tensors: Tensors) -> bool:
    smallest = tensors.amin(tensors.stop_gradient(signal), tuple(range(len(shape_of(signal)))))
    return not bool(smallest < 0)
