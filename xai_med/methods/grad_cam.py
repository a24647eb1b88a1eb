"""Grad-CAM: features of a layer, weighed by their mean gradients."""

from xai_med.backend.network import Trace
from xai_med.backend.pooling import leaves_space
from xai_med.backend.record import Node
from xai_med.backend.tensors import shape_of
from xai_med.checks import Check
from xai_med.errors import LayerError
from xai_med.maps.activation import class_activation_map
from xai_med.registry import register_method
from xai_med.request import Attribution, Request


@register_method(
    "grad_cam",
    source="Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2",
    cost="one forward pass, and per class one pullback from the layer on",
    needs="a layer with space axes",
)
def grad_cam(request: Request, *, relu: bool = True) -> Attribution:
    """Weigh a layer's features by the spatial mean of the score's gradient, and keep positive evidence.

    Parameters
    ----------
    request : Request
        `layer` None takes the tensor that enters the global pool, else the last one with space axes.
    relu : bool
        Keep only positive evidence (the published method). False gives the signed sum.

    Returns
    -------
    Attribution
        `values` and `maps` of shape (N, K, *layer space), in units of the score per cell.

    Raises
    ------
    LayerError
        No layer with space axes was found or named.
    """
    with request.features() as trace:
        explained = request.explained(trace)
        if trace.captured is None or trace.captured_node is None:
            raise LayerError(
                "no tensor with the image's space axes was found on the way to the output; name one with layer="
            )
        if request.layer is None:
            _refuse_several(explained.logits.node, trace.captured_node, trace)
        tensors, features = trace.tensors, trace.captured
        space = tuple(range(2, len(shape_of(features))))
        weights = [
            tensors.mean(gradient, space)
            for gradient in trace.pullback(
                explained.selection.outputs,
                request.cotangents(explained, trace),
                features,
                differentiable=request.differentiable,
            )
        ]
        if not request.differentiable:
            features = tensors.stop_gradient(features)
        maps = class_activation_map(features, tensors.stack(weights, 1), tensors=tensors)
        if relu:
            maps = tensors.relu(maps)
        flat = (tensors.to_numpy(maps) == 0).reshape(*shape_of(maps)[:2], -1).all(axis=2)
        checks = (Check("maps without positive evidence", float(flat.sum()), is_count=True),) if relu else ()
        name = (
            trace.layer_name(trace.captured_node)
            if request.layer is None
            else request.network.find_layer(request.layer)[1]
        )
        return Attribution(maps, maps, explained, layer=name, checks=checks)


def _refuse_several(logits: Node, captured: Node, trace: Trace) -> None:
    """Refuse to choose where several branches with space axes feed the output side by side."""
    above = {node.index for node in captured.ancestors()}
    for node in logits.ancestors():
        if not leaves_space(node) or node.index in above:
            continue
        feeding = node.parents[0]
        if captured not in feeding.ancestors():
            raise LayerError(
                f"several tensors with space axes feed the output side by side, among them those of "
                f"{trace.layer_name(captured)!r} and {trace.layer_name(feeding)!r}; name one with layer="
            )
