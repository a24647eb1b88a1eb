"""XGrad-CAM: features of a layer, weighed by their gradients' mean under the features themselves."""

from xai_med.backend.tensors import Tensor, Tensors
from xai_med.layer_maps import COST, formula_verification, map_at_layer, space_axes, weighed
from xai_med.registry import register_method
from xai_med.request import Attribution, Request


def _formula(features: Tensor, gradient: Tensor, tensors: Tensors) -> Tensor:
    space = space_axes(features)
    sums = tensors.sum(features, space)
    is_empty = sums == 0
    weights = tensors.sum(features * gradient, space) / tensors.where(is_empty, sums * 0 + 1, sums)
    return weighed(features, tensors.where(is_empty, sums * 0, weights), tensors)


@register_method(
    "xgrad_cam",
    source="Fu et al. 2020, arXiv:2008.02312",
    cost=COST,
    needs="a layer with space axes",
    verification=formula_verification(lambda _: _formula),
)
def xgrad_cam(request: Request, *, relu: bool = True) -> Attribution:
    """Weigh features by the mean of the gradient in which each place counts as much as its feature.

    The signed map has the sum of features times gradients (HiResCAM's), distributed within each channel as its
    features are. A channel whose features add up to exactly zero gets no weight.

    Parameters
    ----------
    request : Request
        `layer` as in `xai_med.layer_maps.map_at_layer`.
    relu : bool
        Keep only positive evidence (the published method). False gives the signed sum.

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
