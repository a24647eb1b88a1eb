"""Finds the linear head behind a global average pool, whatever its form, in the record of a forward pass."""

from dataclasses import dataclass

import numpy as np

from xai_med.backend.axes import image_axes
from xai_med.backend.heads.affine import mixes_channels, obstacle
from xai_med.backend.heads.entrance import Ending, at_common_source, where_space_ends
from xai_med.backend.network import Trace
from xai_med.backend.operations import Kind
from xai_med.backend.places.lattice import Lattice
from xai_med.backend.places.locate import Locator
from xai_med.backend.pooling import is_global_average, reduces_space
from xai_med.backend.record import Node
from xai_med.backend.tensors import Array, Tensor, Tensors, shape_of
from xai_med.errors import NotApplicableError

_PLAIN = frozenset({Kind.RESHAPE, Kind.DROPOUT})
_ROUTES = _PLAIN | {Kind.PERMUTE, Kind.ROUTING}
_HIDDEN = frozenset({Kind.RELU, Kind.ACTIVATION, Kind.SIGMOID, Kind.SOFTMAX})
_FLATTENED = _ROUTES | {Kind.LINEAR, Kind.ADD, Kind.MULTIPLY, Kind.DIVIDE, Kind.BATCH_NORM, Kind.CONCATENATE}


@dataclass(frozen=True, eq=False)
class Pool:
    """Where a model that is affine from there on begins to pool: ``logits = weight @ mean(features) + bias``.

    Parameters
    ----------
    node : Node
        The operation that made the features.
    after : tuple of Node
        Every operation from there to the logits, the latest first; each is affine.
    order : tuple of int
        Permutation that takes the tensor to (N, C, *space), where its axes are those of the image.
    lattice : Lattice or None
        Where they are not: which of its cells are places.
    origin : tensor of shape (C,) or None
        What is left out of the features because it is the logits' bias: that of class kernels.
    """

    node: Node
    after: tuple[Node, ...]
    order: tuple[int, ...]
    lattice: Lattice | None = None
    origin: Tensor | None = None

    def arranged(self, tensor: Tensor, tensors: Tensors) -> Tensor:
        """The tensor, or a derivative by it, as (N, C, *space)."""
        if self.lattice is not None:
            return self.lattice.arranged(tensor, tensors)
        return tensor if self.order == tuple(range(len(self.order))) else tensors.transpose(tensor, self.order)

    def put_back(self, features: Tensor, tensor: Tensor, tensors: Tensors) -> Tensor:
        """The tensor with other values at its places, given as (N, C, *space)."""
        if self.lattice is not None:
            return self.lattice.put_back(features, tensor, tensors)
        return tensors.transpose(features, [self.order.index(axis) for axis in range(len(self.order))])

    def features(self, tensor: Tensor, tensors: Tensors) -> Tensor:
        """The tensor as (N, C, *space), without what is the logits' bias."""
        features = self.arranged(tensor, tensors)
        if self.origin is None:
            return features
        ones = (1,) * (len(self.order) - 2)
        return features - tensors.reshape(tensors.stop_gradient(self.origin), (1, -1, *ones))


@dataclass(frozen=True, eq=False)
class Head:
    """A global average pool and at most one linear layer: ``logits = weight @ mean(features - offset) + bias``.

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


def find_pool(trace: Trace, logits: Node, batch: Tensor | None = None) -> Pool:
    """Find the tensor from which on the model is affine, as far as its operations tell.

    Whether its places count alike, as in a mean, is for the weights to show.

    Parameters
    ----------
    trace : Trace
        Of the model.
    logits : Node
        The operation that produced the logits.
    batch : tensor or None
        The images, where places should also be followed into tensors whose axes are not those of the image.

    Raises
    ------
    NotApplicableError
        The model does not end in a pool and affine operations; the message says what it has.
    """
    ending = where_space_ends(logits)
    try:
        return _pool(ending, trace, None)
    except NotApplicableError as by_axes:
        if batch is None or _unfollowed(ending) is None:
            raise
        locator = Locator(trace, batch)
        try:
            return _pool(where_space_ends(logits, lambda node: locator.lattice(node) is not None), trace, locator)
        except NotApplicableError:
            raise by_axes from None


def _pool(ending: Ending, trace: Trace, locator: Locator | None) -> Pool:
    for node in ending.after:
        why = obstacle(node)
        if why is not None:
            raise refusal(_reason(node, why, ending, trace))
    pool = at_common_source(ending, lambda node: obstacle(node) is None)
    if pool is None and ending.entering:
        names = ", ".join(sorted({trace.layer_name(node) for node in ending.entering}))
        raise refusal(f"several tensors are pooled, and they do not come from one by affine operations ({names})")
    if pool is None:
        raise refusal(_unfollowed(ending) or "no global average pool was found between input and output")
    (node,) = pool.entering
    if _FLATTENED.issuperset(other.kind for other in pool.after):
        raise refusal("the features are flattened without a global average pool")
    _refuse_attention(node, pool)
    if locator is not None:
        return Pool(node, pool.after, (), lattice=_even(locator.lattice(node), node))
    order = tuple(node.axes.index(name) for name in image_axes(len(node.axes) - 2))
    is_class_maps = node.kind in (Kind.CONVOLUTION, Kind.LINEAR) and not any(map(mixes_channels, pool.after))
    return Pool(node, pool.after, order, origin=node.details.bias if is_class_maps else None)


def _even(lattice: Lattice | None, node: Node) -> Lattice:
    if lattice is None or not lattice.is_even:
        raise refusal(f"the cells of the pooled tensor, of shape {node.shape}, do not divide the image evenly")
    return lattice


def read_head(trace: Trace, pool: Pool) -> Head | None:
    """Read weight and bias off a head of one linear layer; None where the head is written in another way."""
    linear: Node | None = None
    space = len(pool.order or pool.node.shape) - 2
    for node in pool.after:
        if len(node.parents) != 1:
            return None
        if is_global_average(node.kind, node.details, node.parents[0], space):
            pooled = trace.pooled
            if pooled is None or pooled[1] is not node or node.parents[0] is not pool.node:
                return None
            return _head(trace, pool, pooled[0], linear)
        if linear is None and (node.kind is Kind.LINEAR or _is_pointwise(node)):
            linear = node
        elif node.kind not in _PLAIN:
            return None
    return None


def find_head(trace: Trace, logits: Node) -> Head:
    """Find a global average pool and at most one linear layer.

    Raises
    ------
    NotApplicableError
        The model does not end in this way; the message says what it has.
    """
    head = read_head(trace, find_pool(trace, logits))
    if head is None:
        raise refusal("the head behind the pool is not one linear layer alone")
    return head


def class_weights(head: Head, coefficients: Array, trace: Trace) -> Tensor:
    """Weights of the features for each explained score, (N, K, C)."""
    tensors, (images, count, _) = trace.tensors, coefficients.shape
    if not (coefficients == coefficients[:1]).all():
        given = tensors.from_numpy(coefficients, head.features)
        return given if head.weight is None else tensors.einsum("nkj,jc->nkc", given, head.weight)
    rows = coefficients[0]  # the same scores of every image: their weights are made once
    classes = rows.argmax(axis=1)
    if head.weight is None:
        weights = tensors.from_numpy(rows, head.features)
    elif (rows == np.eye(rows.shape[1], dtype=rows.dtype)[classes]).all():
        weights = tensors.take(head.weight, classes.tolist(), 0)
    else:
        weights = tensors.einsum("kj,jc->kc", tensors.from_numpy(rows, head.features), head.weight)
    return tensors.broadcast(tensors.reshape(weights, (1, count, -1)), (images, count, shape_of(weights)[1]))


def _head(trace: Trace, pool: Pool, entering: Tensor, linear: Node | None) -> Head | None:
    features = pool.features(entering, trace.tensors)
    if linear is None:
        return Head(features, entering, pool.order, pool.node, None, pool.origin)
    weight, channels = linear.details.weight, shape_of(features)[1]
    if shape_of(weight)[1] != channels:  # applied to groups of the channels
        return None
    weight = trace.tensors.reshape(weight, shape_of(weight)[:2])
    return Head(features, entering, pool.order, pool.node, weight, linear.details.bias)


def _is_pointwise(node: Node) -> bool:
    """A 1 x 1 convolution on a pooled tensor is a linear layer."""
    if node.kind is not Kind.CONVOLUTION:
        return False
    return max(shape_of(node.details.weight)[2:]) == 1 and max(node.parents[0].shape[2:]) == max(node.shape[2:]) == 1


def _refuse_attention(node: Node, pool: Ending) -> None:
    """A sum of the features by weights that the image itself decides is no average."""
    if node.kind is not Kind.MULTIPLY or len(node.parents) < 2:
        return
    for factor in node.parents:
        if factor.shape == node.shape:
            continue
        while factor.kind in _ROUTES and len(factor.parents) == 1:
            factor = factor.parents[0]
        is_sum = any(other.kind is Kind.SUM and reduces_space(other) for other in pool.after)
        if factor.kind is Kind.SOFTMAX or (is_sum and factor.kind is Kind.DIVIDE and len(factor.parents) > 1):
            raise refusal(f"the features are weighed by attention ({factor.name}) before they are summed")


def _reason(node: Node, why: str, ending: Ending, trace: Trace) -> str:
    """What an operation that is not affine means for the model."""
    if node.kind in (Kind.MAX_POOL, Kind.MAXIMUM):
        return why
    if node.kind not in _HIDDEN:
        return f"{node.name} stands between the features and the output, and {why}"
    unfollowed = _unfollowed(ending)
    if unfollowed is not None:
        return unfollowed
    if trace.pooled is None:
        return f"the model has no global average pool, and a hidden layer ({node.name}) before its output"
    return f"a hidden layer stands between the pool and the output ({node.name})"


def _unfollowed(ending: Ending) -> str | None:
    """That a pool was met whose axes are not known to be those of space."""
    for node in ending.after:
        if node.kind in (Kind.AVERAGE_POOL, Kind.MEAN, Kind.SUM) and "?" in node.parents[0].axes:
            return f"the axes of the pooled tensor, of shape {node.parents[0].shape}, could not be followed"
    return None


def refusal(reason: str) -> NotApplicableError:
    """What a model without class activation maps is answered."""
    return NotApplicableError(
        f"class activation maps exist for a global average pool followed by one linear map: {reason}; "
        f"use method='grad_cam'"
    )
