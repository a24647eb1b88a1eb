"""XGrad-CAM: features of a layer, weighed by their gradients' mean under the features themselves."""

from xai_med.backend.tensors import Tensor, Tensors
from xai_med.errors import LayerError
from xai_med.layer_maps import COST, formula_verification, map_at_layer, space_axes, weighed
from xai_med.registry import register_method
from xai_med.request import Attribution, Request

_CANCELLED = 1e-4
"""A sum smaller than this share of its terms' sizes has lost float32's digits, and what is divided by it is noise."""


def _formula(features: Tensor, gradient: Tensor, tensors: Tensors) -> Tensor:
    space = space_axes(features)
    sums = tensors.sum(features, space)
    sizes = tensors.sum(tensors.abs(features), space)
    is_empty = sizes == 0
    shares = tensors.abs(sums) / tensors.where(is_empty, sizes * 0 + 1, sizes)
    smallest = tensors.amin(tensors.where(is_empty, shares * 0 + 1, shares), (0, 1))
    if float(tensors.to_numpy(smallest)) < _CANCELLED:
        raise LayerError(
            "XGrad-CAM divides by the sum of a channel's features, and positive and negative ones cancel; choose a "
            "layer behind a ReLU with layer=, or method='hires_cam'"
        )
    weights = tensors.sum(features * gradient, space) / tensors.where(is_empty, sums * 0 + 1, sums)
    return weighed(features, tensors.where(is_empty, sums * 0, weights), tensors)


@register_method(
    "xgrad_cam",
    source="Fu et al. 2020, arXiv:2008.02312",
    cost=COST,
    needs="a layer with space axes",
    properties=("mirror_equivariant", "non_negative"),
    verification=formula_verification(lambda _: _formula),
)
def xgrad_cam(request: Request, *, relu: bool = True) -> Attribution:
    """Weigh features by the mean of the gradient in which each place counts as much as its feature.

    The signed map has the sum of features times gradients (HiResCAM's), distributed within each channel as its
    features are. A channel without any feature gets no weight.

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
        No layer with space axes was found or named, no gradient reaches any place of it, or features of a channel
        cancel.
    """
    return map_at_layer(request, _formula, relu=relu)
