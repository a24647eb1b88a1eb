"""Finds the linear head behind a global average pool, whatever its form, in the record of a forward pass."""

from dataclasses import dataclass

from xai_med.backend.axes import image_axes
from xai_med.backend.network import Trace
from xai_med.backend.operations import Kind
from xai_med.backend.pooling import is_global_average
from xai_med.backend.record import Node
from xai_med.backend.tensors import Array, Tensor, shape_of
from xai_med.errors import NotApplicableError

_NONLINEAR = frozenset({Kind.RELU, Kind.ACTIVATION, Kind.SIGMOID, Kind.SOFTMAX, Kind.NORMALISATION, Kind.BATCH_NORM})


@dataclass(frozen=True, eq=False)
class Head:
    """Global average pool and one linear map: ``logits = weight @ mean(features - offset) + bias``.

    Parameters
    ----------
    features : tensor of shape (N, C, *space)
        What enters the pool, channels first, without the bias of class kernels.
    entering : tensor
        What enters the pool, as the model has it; cotangents go here.
    order : tuple of int
        Permutation that takes `entering` to (N, C, *space).
    node : Node
        The operation that made `entering`.
    weight : tensor of shape (K, C) or None
        None where the features are the class maps themselves (one kernel per class).
    bias : tensor of shape (K,) or None
        What the logits hold beyond the pooled maps.
    """

    features: Tensor
    entering: Tensor
    order: tuple[int, ...]
    node: Node
    weight: Tensor | None
    bias: Tensor | None


def find_head(trace: Trace, logits: Node) -> Head:
    """Walk from the logits back to the global average pool.

    Raises
    ------
    NotApplicableError
        The model does not end in a global average pool and one linear map; the message says what it has.
    """
    linear: Node | None = None
    node = logits
    *_, network_input = logits.ancestors()
    space = len(network_input.shape) - 2
    while not (node.parents and is_global_average(node.kind, node.details, node.parents[0], space)):
        if node.kind is Kind.LINEAR or _is_pointwise(node):
            if linear is not None:
                raise _refusal(_hidden(node, trace))
            linear = node
        elif node.kind in _NONLINEAR:
            raise _refusal(_hidden(node, trace))
        elif node.kind not in (Kind.RESHAPE, Kind.DROPOUT):
            raise _refusal(_reason(node))
        elif _flattens_space(node):
            raise _refusal("the features are flattened without a global average pool")
        if not node.parents:
            raise _refusal("no global average pool was found between input and output")
        node = node.parents[0]
    if trace.pooled is None or trace.pooled[1] is not node:
        raise _refusal("the model pools again after the pool that feeds its output")
    return _head(trace, trace.pooled[0], node.parents[0], linear)


def _head(trace: Trace, entering: Tensor, made_by: Node, linear: Node | None) -> Head:
    tensors = trace.tensors
    space = len(shape_of(entering)) - 2
    wanted = image_axes(space)
    if sorted(made_by.axes) != sorted(wanted):
        raise _refusal(f"the axes of the pooled tensor, of shape {made_by.shape}, could not be followed")
    order = tuple(made_by.axes.index(name) for name in wanted)
    features = entering if order == tuple(range(len(order))) else tensors.transpose(entering, order)
    if linear is not None:
        weight = linear.details.weight
        weight = tensors.reshape(weight, shape_of(weight)[:2])
        return Head(features, entering, order, made_by, weight, linear.details.bias)
    bias = made_by.details.bias if made_by.kind in (Kind.CONVOLUTION, Kind.LINEAR) else None
    if bias is not None:
        features = features - tensors.reshape(tensors.stop_gradient(bias), (1, -1, *(1,) * space))
    return Head(features, entering, order, made_by, None, bias)


def class_weights(head: Head, coefficients: Array, trace: Trace) -> Tensor:
    """Weights of the features for each explained score, (N, K, C)."""
    given = trace.tensors.from_numpy(coefficients, head.features)
    return given if head.weight is None else trace.tensors.einsum("nkj,jc->nkc", given, head.weight)


def _is_pointwise(node: Node) -> bool:
    """A 1 x 1 convolution on a pooled tensor is a linear layer."""
    if node.kind is not Kind.CONVOLUTION or not node.parents:
        return False
    weight = shape_of(node.details.weight)
    pooled = node.parents[0].shape
    return max(weight[2:]) == 1 and max(pooled[2:]) == 1 and weight[1] == pooled[1] and max(node.shape[2:]) == 1


def _flattens_space(node: Node) -> bool:
    if node.kind is not Kind.RESHAPE or not node.parents:
        return False
    old = node.parents[0]
    return len(old.shape) > 2 and max(old.shape[2:]) > 1


def _hidden(node: Node, trace: Trace) -> str:
    if trace.pooled is None:
        return f"the model has no global average pool, and a hidden layer ({node.name}) before its output"
    return f"a hidden layer stands between the pool and the output ({node.name})"


def _reason(node: Node) -> str:
    if node.kind in (Kind.MAX_POOL, Kind.MAXIMUM):
        return f"the model pools by maximum ({node.name}), not by average"
    if node.kind is Kind.AVERAGE_POOL:
        return "the average pool does not cover the whole feature map"
    return f"{node.name} stands between the global pool and the output"


def _refusal(reason: str) -> NotApplicableError:
    return NotApplicableError(
        f"class activation maps exist for a global average pool followed by one linear layer: {reason}; "
        f"use method='grad_cam'"
    )
