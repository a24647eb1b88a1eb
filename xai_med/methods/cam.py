"""Class activation maps: what each place adds to a class's logit, for networks that end in a global average pool."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xai_med.backend.heads.entrance import holds_values_of
from xai_med.backend.heads.head import Pool, find_pool
from xai_med.backend.network import Trace
from xai_med.backend.numpy_tensors import NUMPY
from xai_med.backend.start import AtResult, Nowhere
from xai_med.backend.tensors import Array, Tensor, precision
from xai_med.checks import Check
from xai_med.errors import IdentityError, LayerError, NotApplicableError
from xai_med.evidence import Evidence, ask_head, at_origin, read_evidence
from xai_med.maps.activation import class_activation_map
from xai_med.registry import register_method
from xai_med.request import Attribution, Explained, Request
from xai_med.same_scores import of_same_scores
from xai_med.verification import occlusion_check, score_from, where_possible


def verify_cam(request: Request, attribution: Attribution, settings: Mapping[str, Any]) -> tuple[Check, ...]:  # noqa: ARG001 (every verification is given them)
    """Occlude cells of the features: the score is linear in them, and falls by exactly what the map says.

    Parameters
    ----------
    request, attribution : Request, Attribution
        The question and the result.
    settings : mapping
        Of the method.
    """
    request = of_same_scores(request, attribution.explained)
    tensors = request.network.tensors
    with request.network.trace(request.batch, start=Nowhere()) as trace:
        pool = find_pool(trace, request.explained(trace).logits.node, request.batch)
    start = AtResult(pool.node.index)
    with where_possible(), request.network.trace(request.batch, start=start) as trace:
        if trace.replaced is None:
            raise NotApplicableError("this backend cannot make a model go on from another value")
        features = tensors.to_numpy(pool.features(trace.replaced, tensors))
    maps = tensors.to_numpy(attribution.maps).astype(np.float64)
    score = score_from(request, start)

    def occluded(mask: Array) -> Array:
        return score(pool.put_back(-features * mask[:, None], np.zeros(pool.node.shape), NUMPY))

    shares = maps / np.prod(maps.shape[2:])
    digits = precision(tensors.dtype(attribution.maps))
    return (occlusion_check(shares, occluded, attribution.explained.selection.scores, 256 * digits, key="occlusion"),)


@register_method(
    "cam",
    source="Zhou et al. 2016, arXiv:1512.04150, equation 2",
    cost="one forward pass for all classes; a second one where the head is not simply one linear layer",
    needs="global average pool and one linear map",
    properties=("linear_in_target", "mirror_equivariant"),
    verification=verify_cam,
)
def cam(request: Request, *, detach_weights: bool = False) -> Attribution:
    """Weigh the features that enter the global pool by the head's own weights.

    The map's mean over space plus the head's bias is the logit, exactly; this is measured on every result. The head
    is one linear layer, or whatever else is one linear map (see `xai_med.evidence`).

    Parameters
    ----------
    request : Request
        Targets must be linear in the logits; `layer`, if given, must be the one whose output enters the pool.
    detach_weights : bool
        For a differentiable attribution: derivatives reach the features and not the head's weights, so that
        attention supervision trains the backbone only. No effect on values.

    Returns
    -------
    Attribution
        `values` and `maps` of shape (N, K, *feature space), signed, in units of the logit.

    Raises
    ------
    NotApplicableError
        The model has no global average pool followed by one linear map, or the target is not linear.
    LayerError
        `layer` is not what enters the pool.
    IdentityError
        Mean over space plus bias differs from the logit.
    """
    watched, name = request.network.find_layer(request.layer) if request.layer is not None else (None, "")
    start = Nowhere(watched, name)
    with request.network.trace(request.batch, start=start, differentiable=request.differentiable) as trace:
        explained = request.explained(trace)
        coefficients = explained.coefficients("cam")
        pool = find_pool(trace, explained.logits.node, request.batch)
        if watched is not None:
            _refuse_another_layer(pool, name, trace)
        evidence = read_evidence(trace, pool, coefficients, detach_weights=detach_weights)
        if evidence is not None:
            return _attribution(evidence, explained, pool, trace)
        origin = at_origin(request, pool, trace)
    with request.network.trace(request.batch, start=origin, differentiable=request.differentiable) as trace:
        evidence = ask_head(request, explained, trace, pool, detach_weights=detach_weights)
        return _attribution(evidence, explained, pool, trace)


def _attribution(evidence: Evidence, explained: Explained, pool: Pool, trace: Trace) -> Attribution:
    maps = class_activation_map(evidence.features, evidence.weights, tensors=trace.tensors)
    check = _identity(evidence, maps, explained.selection.scores, trace)
    return Attribution(maps, maps, explained, layer=trace.layer_name(pool.node), checks=(check,))


def _refuse_another_layer(pool: Pool, name: str, trace: Trace) -> None:
    if trace.watched_node is None or not holds_values_of(pool.node, trace.watched_node):
        raise LayerError(
            f"the output of layer {name!r} is not what enters the global pool (that is made by "
            f"{trace.layer_name(pool.node)!r}); leave layer= away, or use method='grad_cam'"
        )


def _identity(evidence: Evidence, maps: Tensor, scores: Array, trace: Trace) -> Check:
    """Compare mean over space + bias with the score."""
    values = trace.tensors.to_numpy(maps)
    values = values.astype(np.float64).reshape(*values.shape[:2], -1)
    residual = np.abs(values.mean(axis=2) + evidence.biases - scores)
    size = np.abs(values).mean(axis=2) + np.abs(evidence.biases) + np.abs(scores) + np.ptp(scores)
    # 64 roundings: sums over a thousand channels err by some tens of the last place
    check = Check(
        "CAM identity: |mean over space + bias - logit| / size",
        float((residual / np.maximum(size, np.finfo(np.float64).tiny)).max()),
        64 * precision(trace.tensors.dtype(evidence.features)),
        key="cam_identity",
    )
    if not check.passed:
        raise IdentityError(
            f"the class activation map does not add up to the logit ({check}); what was taken for the head "
            f"is not all that the model does after the pool; use method='grad_cam'"
        )
    return check
