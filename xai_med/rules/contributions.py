"""The positive and the negative contributions to the outputs of an operation with weights, summed over its inputs."""

from dataclasses import replace

from xai_med.backend.operations import WEIGHTED, Operation
from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.errors import UnsupportedOperationError
from xai_med.rules.applicable import refuse_other_kinds


def positive_contributions(operation: Operation, tensors: Tensors, *, rule: str, biased: bool = True) -> Tensor:
    """``sum_i [a_i w_ij]+ + [b_j]+``, where ``[a w]+ = [a]+ [w]+ + [a]- [w]-``, for inputs of either sign.

    For inputs that are nowhere negative only the first term lives; the popular shortcut ``a [w]+`` is wrong for any
    other input.

    Parameters
    ----------
    operation : Operation
        With weights.
    tensors : Tensors
        Operations of the framework.
    rule : str
        Whose contributions they are, for the message.
    biased : bool
        Whether the bias is one of the contributions.

    Returns
    -------
    tensor
        Of the shape of the operation's output; derivatives flow to its input.

    Raises
    ------
    UnsupportedOperationError
        The operation has no weights.
    """
    refuse_other_kinds(operation, WEIGHTED, rule)
    details, (signal,) = operation.details, operation.inputs
    if details.linear_map is None:
        raise UnsupportedOperationError(f"the backend gives no way to re-apply {operation.name}")
    bias = None if details.bias is None or not biased else tensors.relu(details.bias)
    if _is_nowhere_negative(signal, tensors):
        return details.linear_map(signal, tensors.relu(details.weight), bias)
    return details.linear_map(tensors.relu(signal), tensors.relu(details.weight), bias) + details.linear_map(
        _negative(signal, tensors), _negative(details.weight, tensors), None
    )


def negative_contributions(operation: Operation, tensors: Tensors, *, rule: str) -> Tensor:
    """``sum_i [a_i w_ij]- + [b_j]-``, nowhere positive; see `positive_contributions`."""
    return -positive_contributions(negated(operation), tensors, rule=rule)


def negated(operation: Operation) -> Operation:
    """The operation with all weights and biases negated: what spoke for an output speaks against it."""
    weight, bias = (None if t is None else -t for t in (operation.details.weight, operation.details.bias))
    return replace(operation, details=replace(operation.details, weight=weight, bias=bias))


def _negative(tensor: Tensor, tensors: Tensors) -> Tensor:
    return tensors.clip(tensor, high=0.0)


def _is_nowhere_negative(signal: Tensor, tensors: Tensors) -> bool:
    smallest = tensors.amin(tensors.stop_gradient(signal), tuple(range(len(shape_of(signal)))))
    return not bool(smallest < 0)
