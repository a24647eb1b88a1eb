"""HiResCAM: features of a layer times their gradients, place by place."""

from xai_med.backend.tensors import Tensor, Tensors
from xai_med.layer_maps import COST, formula_verification, map_at_layer
from xai_med.registry import register_method
from xai_med.request import Attribution, Request


def _formula(features: Tensor, gradient: Tensor, tensors: Tensors) -> Tensor:
    return tensors.sum(features * gradient, (1,))


@register_method(
    "hires_cam",
    source="Draelos, Carin 2020, arXiv:2011.08891",
    cost=COST,
    needs="a layer with space axes",
    properties=("linear_in_target", "mirror_equivariant"),
    verification=formula_verification(lambda _: _formula),
)
def hires_cam(request: Request, *, relu: bool = False) -> Attribution:
    """Multiply a layer's features by the score's gradient and sum over channels.

    Where nothing but linear layers without biases follow, the map's sum is the score. Grad-CAM, which takes the mean of
    the gradient over space first, moves or loses evidence where a layer's places are weighed apart, as behind a
    flatten; with a global average pool and one linear layer both are the class activation map.

    Parameters
    ----------
    request : Request
        `layer` as in `xai_med.layer_maps.map_at_layer`.
    relu : bool
        Keep only positive evidence. The published map is signed.

    Returns
    -------
    Attribution
        `values` of shape (N, K, *layer space), in units of the score.

    Raises
    ------
    LayerError
        No layer with space axes was found or named, or no gradient reaches any place of it.
    """
    return map_at_layer(request, _formula, relu=relu)
