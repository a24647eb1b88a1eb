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

    Later layers must see the true activations also where the surrogate's denominator is almost zero. The surrogate
    must have been computed for this: its memory may be taken.
    """
    return tensors.carry(surrogate, tensors.stop_gradient(value))


def redistribute(
    parts: Tensor, value: Tensor, epsilon: float, tensors: Tensors, *, is_positive: bool = False
) -> Tensor:
    """Surrogate whose gradient x input hands relevance to inputs in proportion to their part in `parts`.

    ``parts * stop_gradient(value / stabilise(parts))``, Ancona et al. 2018 (arXiv:1711.06104), proposition 1
    generalised to any homogeneous `parts`.

    Parameters
    ----------
    parts, value : tensor
        The denominator with its gradient, and the operation's true output.
    epsilon : float
        Stabiliser.
    tensors : Tensors
        Operations of the framework.
    is_positive : bool
        Whether all parts are sums of what is nowhere negative, whose sign need not be looked at.
    """
    if is_positive and epsilon:
        denominator = tensors.stop_gradient(parts) + epsilon
    else:
        denominator = stabilise(parts, epsilon, tensors)
    return carry(parts * tensors.quotient(value, denominator), value, tensors)
