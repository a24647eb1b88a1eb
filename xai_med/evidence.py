"""What each channel of the pooled features says for each explained score: the head's weights, and its bias.

A head that is one linear layer is read as it is. Any other affine head is asked: the model runs a second time and goes
on from zero where the features would enter the pool. What it then answers is its bias. The derivative of the answer is
its weight, which is the same in every place if, and only if, the features are averaged. That weight, bias and features
add up to the logit of the first run shows that nothing else was at work.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xai_med.backend.heads.head import Head, Pool, class_weights, read_head, refusal
from xai_med.backend.network import Trace
from xai_med.backend.record import Node
from xai_med.backend.start import AtResult
from xai_med.backend.tensors import Array, Tensor, Tensors, precision, shape_of
from xai_med.errors import GradientError
from xai_med.logits import Logits, find_logits
from xai_med.request import Explained, Request

_ROUNDINGS = 64  # weights and biases are made of a few sums over channels


@dataclass(frozen=True, eq=False)
class Evidence:
    """Features and an affine head: ``score = mean over space of (weights . features) + bias``.

    Parameters
    ----------
    features : tensor of shape (N, C, *space)
        What enters the pool, channels first.
    weights : tensor of shape (N, K, C)
        Of each explained score.
    biases : ndarray of shape (N, K), float64
        What a score holds beyond the features.
    """

    features: Tensor
    weights: Tensor
    biases: Array


def read_evidence(trace: Trace, pool: Pool, coefficients: Array, *, detach_weights: bool) -> Evidence | None:
    """Read the weights of a head of one linear layer; None for any other.

    Parameters
    ----------
    trace : Trace
        Of the model.
    pool : Pool
        Where it begins to pool.
    coefficients : ndarray of shape (N, K, C)
        Of the explained scores in the logits.
    detach_weights : bool
        Let no derivatives reach the head's weights.
    """
    head = read_head(trace, pool)
    if head is None or not _fits(head, coefficients):
        return None
    weights = class_weights(head, coefficients, trace)
    weights = trace.tensors.stop_gradient(weights) if detach_weights else weights
    bias = np.zeros(coefficients.shape[2]) if head.bias is None else trace.tensors.to_numpy(head.bias)
    return Evidence(head.features, weights, coefficients.astype(np.float64) @ bias.astype(np.float64))


def at_origin(request: Request, pool: Pool, trace: Trace) -> AtResult:
    """Where a second run begins, with the features at their origin: zero, or the bias of class kernels.

    Parameters
    ----------
    request : Request
        The question.
    pool : Pool
        Where the model begins to pool.
    trace : Trace
        Of the first run.

    Raises
    ------
    NotApplicableError
        The first run read a number behind the pool: with other features it would be another.
    """
    read = next((node for node in trace.left if node.index > pool.node.index), None)
    if read is not None:
        raise refusal(f"the model reads a number from the result of {read.name} behind the pool")
    tensors, rank = request.network.tensors, len(pool.node.shape)
    if pool.origin is None:
        return AtResult(pool.node.index, tensors.from_numpy(np.zeros((1,) * rank, np.float32), request.batch))
    shape = [1] * rank
    shape[pool.order[1]] = -1
    return AtResult(pool.node.index, tensors.reshape(tensors.stop_gradient(pool.origin), shape))


def ask_head(request: Request, explained: Explained, trace: Trace, pool: Pool, *, detach_weights: bool) -> Evidence:
    """Ask any affine head for its bias and its weights.

    Parameters
    ----------
    request, explained : Request, Explained
        The question, and the scores of the first run.
    trace : Trace
        A second run, from `at_origin`.
    pool : Pool
        Where the model begins to pool, as found in the first run.
    detach_weights : bool
        Let no derivatives reach the head's weights.

    Raises
    ------
    NotApplicableError
        The head differs from image to image or from place to place, or cuts derivatives.
    GradientError
        The weights should be differentiable, and the framework cannot differentiate derivatives.
    """
    if trace.captured is None or trace.replaced is None:
        raise refusal("the head is not one linear layer, and cannot be asked for its weights here")
    logits = find_logits(trace, request.output)
    _refuse_another_way(logits.node, pool)
    answers = trace.tensors.to_numpy(logits.values).astype(np.float64)
    if not np.isfinite(answers).all():
        raise refusal("what stands between the pool and the output is not finite where the features are zero")
    size = np.abs(answers).max() + np.abs(explained.all_logits).max()
    if np.abs(answers - answers[:1]).max() > _ROUNDINGS * precision(trace.tensors.dtype(logits.values)) * size:
        raise refusal("what stands between the pool and the output differs from image to image")
    weights = [
        _summed_over_space(gradient, pool, trace)
        for gradient in _derivatives(request, explained, trace, logits, detach_weights=detach_weights)
    ]
    coefficients = explained.coefficients("cam").astype(np.float64)
    return Evidence(
        pool.features(trace.replaced, trace.tensors),
        trace.tensors.stack(weights, 1),
        np.einsum("nkc,nc->nk", coefficients, answers),
    )


def _derivatives(
    request: Request, explained: Explained, trace: Trace, logits: Logits, *, detach_weights: bool
) -> Iterator[Tensor]:
    seeds = (
        trace.tensors.from_numpy(np.ascontiguousarray(seed), logits.values)
        for seed in np.moveaxis(explained.coefficients("cam"), 1, 0)
    )
    is_differentiable = request.differentiable and not detach_weights
    try:
        yield from trace.pullback(logits.values, seeds, trace.captured, differentiable=is_differentiable)
    except GradientError as error:
        if not is_differentiable:
            raise
        raise GradientError(
            f"the head is not one linear layer, so that its weights are derivatives, which cannot be differentiated "
            f"again here ({error}); give detach_weights=True, or write the head as one linear layer"
        ) from error


def _summed_over_space(gradient: Tensor, pool: Pool, trace: Trace) -> Tensor:
    """Sum of a derivative over space, (N, C), where it is the same in every place.

    Raises
    ------
    NotApplicableError
        It differs: the features are not averaged.
    """
    tensors = trace.tensors
    by_place = pool.arranged(gradient, tensors)
    shape = shape_of(by_place)
    space = tuple(range(2, len(shape)))
    mean = tensors.mean(by_place, space, keep=True)
    tolerance = _ROUNDINGS * precision(tensors.dtype(gradient)) * _largest(gradient, tensors)
    if _largest(by_place - mean, tensors) > tolerance:
        raise refusal(
            f"the features, of shape {shape}, are not averaged: their places count differently, as where they are "
            f"flattened, cropped or weighed"
        )
    if pool.lattice is not None and _largest(pool.put_back(by_place * 0, gradient, tensors), tensors) > tolerance:
        raise refusal("cells that lie nowhere in the image, such as a class token, are averaged with the features")
    return tensors.reshape(mean, shape[:2]) * float(np.prod(shape[2:]))


def _largest(tensor: Tensor, tensors: Tensors) -> float:
    values = tensors.abs(tensors.stop_gradient(tensor))
    return float(tensors.to_numpy(tensors.amax(values, tuple(range(len(shape_of(values)))))))


def _refuse_another_way(logits: Node, pool: Pool) -> None:
    """Refuse a second run that went another way, or in which derivatives are cut."""
    found = {node.index: node for node in logits.ancestors()}
    for expected in pool.after:
        node = found.get(expected.index)
        if node is None or (node.kind, node.shape) != (expected.kind, expected.shape):
            raise refusal("the model runs other operations where the features have other values")
        if not node.is_differentiable:
            raise refusal(f"{node.name} behind the pool cuts derivatives, by which the weights of such a head are read")


def _fits(head: Head, coefficients: Array) -> bool:
    """Whether each row of the weights is that of one logit."""
    rows = shape_of(head.features)[1] if head.weight is None else shape_of(head.weight)[0]
    return bool(rows == coefficients.shape[2])
