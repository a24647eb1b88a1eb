"""LayerCAM: features of a layer times the positive part of their gradients, place by place."""

from xai_med.backend.tensors import Tensor, Tensors
from xai_med.layer_maps import COST, formula_verification, map_at_layer
from xai_med.registry import register_method
from xai_med.request import Attribution, Request


def _formula(features: Tensor, gradient: Tensor, tensors: Tensors) -> Tensor:
    return tensors.sum(features * tensors.relu(gradient), (1,))


@register_method(
    "layer_cam",
    source="Jiang et al. 2021, doi:10.1109/TIP.2021.3089943",
    cost=COST,
    needs="a layer with space axes",
    properties=("mirror_equivariant", "non_negative"),
    verification=formula_verification(lambda _: _formula),
)
def layer_cam(request: Request, *, relu: bool = True) -> Attribution:
    """Weigh each place of each channel by its own gradient, where that is positive.

    Made for layers close to the image, where gradients of one channel differ from place to place.

    Parameters
    ----------
    request : Request
        `layer` as in `xai_med.layer_maps.map_at_layer`.
    relu : bool
        Keep only positive evidence (the published method): it differs where features are negative.

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
