"""Class activation maps: what each place adds to a class's logit, for networks that end in a global average pool."""

import numpy as np

from xai_med.backend.head import Head, class_weights, find_head
from xai_med.backend.network import Trace
from xai_med.backend.start import Nowhere
from xai_med.backend.tensors import Array
from xai_med.checks import Check
from xai_med.errors import IdentityError, LayerError
from xai_med.maps.activation import class_activation_map
from xai_med.registry import register_method
from xai_med.request import Attribution, Request


@register_method(
    "cam",
    source="Zhou et al. 2016, arXiv:1512.04150, equation 2",
    cost="one forward pass for all classes",
    needs="global average pool and one linear layer",
)
def cam(request: Request, *, detach_weights: bool = False) -> Attribution:
    """Weigh the features that enter the global pool by the head's own weights.

    The map's mean over space plus the head's bias is the logit, exactly; this is measured on every result.

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
        The model has no global average pool followed by one linear layer, or the target is not linear.
    LayerError
        `layer` is not what enters the pool.
    IdentityError
        Mean over space plus bias differs from the logit.
    """
    watched, name = request.network.find_layer(request.layer) if request.layer is not None else (None, "")
    with request.network.trace(
        request.batch, start=Nowhere(watched, name), differentiable=request.differentiable
    ) as trace:
        explained = request.explained(trace)
        coefficients = explained.coefficients("cam")
        head = find_head(trace, explained.logits.node)
        if watched is not None and trace.watched_node is not head.node:
            raise LayerError(
                f"the output of layer {name!r} is not what enters the global pool (that is made by "
                f"{trace.layer_name(head.node)!r}); leave layer= away, or use method='grad_cam'"
            )
        weights = class_weights(head, coefficients, trace)
        if detach_weights:
            weights = trace.tensors.stop_gradient(weights)
        maps = class_activation_map(head.features, weights, tensors=trace.tensors)
        check = _identity(head, maps, coefficients, explained.selection.scores, trace)
        return Attribution(maps, maps, explained, layer=trace.layer_name(head.node), checks=(check,))


def _identity(head: Head, maps: object, coefficients: Array, scores: Array, trace: Trace) -> Check:
    """Compare mean over space + bias with the score."""
    values = trace.tensors.to_numpy(maps)
    precision = np.finfo(values.dtype).eps
    values = values.astype(np.float64).reshape(*values.shape[:2], -1)
    bias: Array = np.zeros(())
    if head.bias is not None:
        bias = coefficients.astype(np.float64) @ trace.tensors.to_numpy(head.bias).astype(np.float64)
    residual = np.abs(values.mean(axis=2) + bias - scores)
    size = np.abs(values).mean(axis=2) + np.abs(bias) + np.abs(scores) + np.ptp(scores)
    if trace.tensors.dtype(head.features) == "bfloat16":
        precision = np.float64(2.0**-8)
    # 64 roundings: sums over a thousand channels err by some tens of the last place
    check = Check(
        "CAM identity: |mean over space + bias - logit| / size",
        float((residual / np.maximum(size, np.finfo(np.float64).tiny)).max()),
        float(64 * precision),
    )
    if not check.passed:
        raise IdentityError(
            f"the class activation map does not add up to the logit ({check}); what was taken for the head "
            f"is not all that the model does after the pool; use method='grad_cam'"
        )
    return check
