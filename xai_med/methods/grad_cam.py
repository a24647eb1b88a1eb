"""Grad-CAM: features of a layer, weighed by their mean gradients."""

from collections.abc import Mapping
from types import MappingProxyType

from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.errors import SettingError
from xai_med.layer_maps import COST, Formula, formula_verification, map_at_layer, space_axes, weighed
from xai_med.registry import register_method
from xai_med.request import Attribution, Request


def mean_gradient_formula(features: Tensor, gradient: Tensor, tensors: Tensors) -> Tensor:
    """Features weighed by their mean gradients."""
    weights = tensors.mean(gradient, space_axes(gradient))
    return weighed(features, weights, tensors)


def _mean_over_channels(features: Tensor, gradient: Tensor, tensors: Tensors) -> Tensor:
    return mean_gradient_formula(features, gradient, tensors) / shape_of(features)[1]


OVER_CHANNELS: Mapping[str, Formula] = MappingProxyType({"sum": mean_gradient_formula, "mean": _mean_over_channels})
"""``"sum"`` is the published method; ``"mean"``, of some libraries, is that divided by the number of channels."""


@register_method(
    "grad_cam",
    source="Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2",
    cost=COST,
    needs="a layer with space axes",
    properties=("mirror_equivariant", "non_negative"),
    verification=formula_verification(lambda settings: OVER_CHANNELS[settings["over_channels"]]),
)
def grad_cam(request: Request, *, relu: bool = True, over_channels: str = "sum") -> Attribution:
    """Weigh a layer's features by the spatial mean of the score's gradient, and keep positive evidence.

    Of a transformer's layer the tokens that lie in the image are the features, each at its place, and the mean is
    taken over them; class and register tokens have no part in it.

    Parameters
    ----------
    request : Request
        `layer` as in `xai_med.layer_maps.map_at_layer`.
    relu : bool
        Keep only positive evidence (the published method). False gives the signed sum.
    over_channels : str
        ``"sum"`` (the published method) or ``"mean"``, see `OVER_CHANNELS`.

    Returns
    -------
    Attribution
        `values` of shape (N, K, *layer space), in units of the score per cell.

    Raises
    ------
    LayerError
        No layer with space axes was found or named, or no gradient reaches any place of it.
    SettingError
        `over_channels` is neither.
    """
    if over_channels not in OVER_CHANNELS:
        raise SettingError(f"over_channels={over_channels!r} is unknown; choose one of {', '.join(OVER_CHANNELS)}")
    return map_at_layer(request, OVER_CHANNELS[over_channels], relu=relu)
