"""The denominators of relevance propagation, kept away from zero."""

from xai_med.backend.tensors import Tensor, Tensors


def stabilise(denominator: Tensor, epsilon: float, tensors: Tensors) -> Tensor:
    """``z + epsilon * sign(z)`` with sign(0) = +1, without gradient (Bach et al. 2015, equation 58)."""
    fixed = tensors.stop_gradient(denominator)
    if epsilon == 0:  # nothing contributes where the sum is zero, so that any denominator but zero will do
        return tensors.where(fixed == 0, fixed + 1, fixed)
    return tensors.where(fixed >= 0, fixed + epsilon, fixed - epsilon)


def carry(surrogate: Tensor, value: Tensor, tensors: Tensors) -> Tensor:
    """A tensor with exactly the values of `value` and the derivatives of `surrogate`.

    Later layers must see the true activations also where the surrogate's denominator is almost zero.
    """
    return surrogate + tensors.stop_gradient(value - surrogate)


def redistribute(parts: Tensor, value: Tensor, epsilon: float, tensors: Tensors) -> Tensor:
    """Surrogate whose gradient x input hands relevance to inputs in proportion to their part in `parts`.

    ``parts * stop_gradient(value / stabilise(parts))``, Ancona et al. 2018 (arXiv:1711.06104), proposition 1
    generalised to any homogeneous `parts`.
    """
    share = tensors.stop_gradient(value) / stabilise(parts, epsilon, tensors)
    return carry(parts * share, value, tensors)
