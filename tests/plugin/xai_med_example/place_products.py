"""Features of a layer times their own gradients, place by place: what is built in as hires_cam."""

from xai_med.backend.tensors import shape_of
from xai_med.checks import Check
from xai_med.errors import LayerError
from xai_med.registry import register_method
from xai_med.request import Attribution, Request


@register_method(
    "place_products",
    source="Draelos, Carin 2020, arXiv:2011.08891",
    cost="one forward pass, and per class one pullback from the layer on",
    needs="a layer with space axes",
)
def place_products(request: Request, *, relu: bool = False) -> Attribution:
    """Multiply a layer's features by the score's gradient and sum over channels: ``M = sum_c A_c * dS/dA_c``.

    Unlike Grad-CAM it does not average the gradient over space. Where only a linear map follows the layer, the map's
    sum over space plus the bias is the score.

    Parameters
    ----------
    request : Request
        `layer` None takes the tensor that enters the global pool, else the last one with space axes.
    relu : bool
        Keep only positive evidence, for pictures beside Grad-CAM.

    Returns
    -------
    Attribution
        `values` and `maps` of shape (N, K, *layer space), in units of the score.

    Raises
    ------
    LayerError
        No layer with space axes was found or named.
    """
    with request.features() as trace:
        explained = request.explained(trace)
        features, node = trace.captured, trace.captured_node
        if features is None or node is None:
            raise LayerError("no tensor with the image's space axes was found; name one with layer=")
        tensors = trace.tensors
        gradients = trace.pullback(
            explained.selection.outputs,
            request.cotangents(explained, trace),
            features,
            differentiable=request.differentiable,
        )
        if not request.differentiable:
            features = tensors.stop_gradient(features)
        maps = tensors.stack([tensors.sum(features * gradient, (1,)) for gradient in gradients], 1)
        if relu:
            maps = tensors.relu(maps)
        silent = (tensors.to_numpy(maps) == 0).reshape(*shape_of(maps)[:2], -1).all(axis=2)
        checks = (Check("maps without evidence", float(silent.sum())),)
        layer = trace.layer_name(node) if request.layer is None else request.network.find_layer(request.layer)[1]
        return Attribution(maps, maps, explained, layer=layer, checks=checks)
