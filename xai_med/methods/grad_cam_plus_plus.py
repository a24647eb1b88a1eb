"""Grad-CAM++: positive gradients, weighed so that every place where a feature is present counts alike."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.errors import LayerError, SettingError
from xai_med.layer_maps import COST, Formula, formula_verification, map_at_layer, space_axes, weighed
from xai_med.registry import register_method
from xai_med.request import Attribution, Request


def _published(features: Tensor, gradient: Tensor, tensors: Tensors, *, epsilon: float) -> Tensor:
    positive, shares = _shares(features, gradient, tensors, epsilon)
    return weighed(features, tensors.sum(shares * positive, space_axes(features)), tensors)


def _released(features: Tensor, gradient: Tensor, tensors: Tensors, *, epsilon: float) -> Tensor:
    positive, shares = _shares(features, gradient, tensors, epsilon)
    space = space_axes(features)
    whole = tensors.sum(shares, space)
    weights = tensors.sum(shares * positive, space) / tensors.where(whole == 0, whole * 0 + 1, whole)
    return weighed(features, weights, tensors)


VARIANTS: Mapping[str, Callable[..., Tensor]] = MappingProxyType({"published": _published, "released": _released})
"""``"published"`` is the paper's formula; in ``"released"``, the authors' code, each channel's shares add up to one."""


def _of_settings(settings: Mapping[str, Any]) -> Formula:
    return partial(VARIANTS[settings["variant"]], epsilon=settings["epsilon"])


def _shares(features: Tensor, gradient: Tensor, tensors: Tensors, epsilon: float) -> tuple[Tensor, Tensor]:
    """Positive gradients, and the share of each place: ``g^2 / (2 g^2 + s g^3 + epsilon)``, zero elsewhere.

    Divided by ``g^2``, of which float32 loses the digits where gradients are small.
    """
    positive = tensors.relu(gradient)
    denominators = 2 + tensors.sum(features, space_axes(features), keep=True) * positive
    if float(tensors.to_numpy(tensors.amin(denominators, tuple(range(len(shape_of(denominators))))))) <= 0:
        raise LayerError(
            "Grad-CAM++ divides by 2 + the sum of a channel's features times its gradient, which is not above zero "
            "here, as only features that are negative can make it; choose a layer behind a ReLU with layer="
        )
    if epsilon:
        slopes = tensors.where(positive > 0, positive, positive * 0 + 1)
        denominators = denominators + epsilon / slopes / slopes
    return positive, tensors.where(positive > 0, 1 / denominators, denominators * 0)


@register_method(
    "grad_cam_plus_plus",
    source="Chattopadhyay et al. 2018, arXiv:1710.11063; in the closed form for the exponential of the score",
    cost=COST,
    needs="a layer with space axes, behind a ReLU",
    properties=("mirror_equivariant", "non_negative"),
    verification=formula_verification(_of_settings),
)
def grad_cam_plus_plus(
    request: Request, *, relu: bool = True, variant: str = "published", epsilon: float = 0.0
) -> Attribution:
    """Weigh features by their positive gradients, each place by how little the rest of its channel explains.

    The derivation takes the exponential of the score, whose own factor cancels once a map is scaled.

    Parameters
    ----------
    request : Request
        `layer` as in `xai_med.layer_maps.map_at_layer`.
    relu : bool
        Keep only positive evidence (the published method): it differs where features are negative.
    variant : str
        ``"published"`` or ``"released"``, see `VARIANTS`; they may put the peak at different places.
    epsilon : float
        Added to ``2 g^2 + s g^3``, which the paper does not do and libraries do: it takes weight from places where the
        gradient `g` is small.

    Returns
    -------
    Attribution
        `values` of shape (N, K, *layer space).

    Raises
    ------
    SettingError
        The variant is not known, or epsilon is no number of at least 0.
    LayerError
        No layer with space axes was found or named, no gradient reaches any place of it, or its features are so
        negative that the formula divides by zero.
    """
    if variant not in VARIANTS:
        raise SettingError(f"variant={variant!r} is unknown; choose one of {', '.join(VARIANTS)}")
    if not (isinstance(epsilon, float | int) and 0 <= epsilon < np.inf):
        raise SettingError(f"epsilon is a number of at least 0, got {epsilon!r}")
    return map_at_layer(request, _of_settings({"variant": variant, "epsilon": float(epsilon)}), relu=relu)
