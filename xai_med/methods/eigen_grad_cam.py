"""Eigen-Grad-CAM: the strongest pattern in features times gradients."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from xai_med.backend.tensors import Tensor, Tensors
from xai_med.errors import NotApplicableError
from xai_med.layer_maps import COST, Formula, formula_verification, map_at_layer
from xai_med.principal import principal_map
from xai_med.registry import register_method
from xai_med.request import Attribution, Request


def _formula(features: Tensor, gradient: Tensor, tensors: Tensors, *, centred: bool) -> Tensor:
    products = tensors.to_numpy(features * gradient)
    maps = [principal_map(image, centred=centred, like=image.sum(axis=0)) for image in products]
    return tensors.from_numpy(np.stack(maps), features)


def _of_settings(settings: Mapping[str, Any]) -> Formula:
    return partial(_formula, centred=settings["centred"])


@register_method(
    "eigen_grad_cam",
    source="Gildenblat et al. 2021, https://github.com/jacobgil/pytorch-grad-cam (published as software); "
    "Muhammad, Yeasin 2020, arXiv:2008.00299",
    cost=COST,
    needs="a layer with space axes",
    properties=("mirror_equivariant",),
    verification=formula_verification(_of_settings),
)
def eigen_grad_cam(request: Request, *, centred: bool = True, relu: bool = False) -> Attribution:
    """Project features times gradients on their first right singular vector.

    Parameters
    ----------
    request : Request
        `layer` as in `xai_med.layer_maps.map_at_layer`.
    centred : bool
        Subtract each channel's mean first, as the released code does.
    relu : bool
        Keep only the positive part.

    Returns
    -------
    Attribution
        `values` of shape (N, K, *layer space), in units of the score. The released code leaves the sign to chance;
        here the map goes along with the sum of features times gradients, HiResCAM's.

    Raises
    ------
    LayerError
        No layer with space axes was found or named, or there is no single strongest pattern.
    NotApplicableError
        ``differentiable=True``.
    """
    if request.differentiable:
        raise NotApplicableError("eigen_grad_cam keeps no graph through its decomposition; use method='hires_cam'")
    return map_at_layer(request, partial(_formula, centred=centred), relu=relu)
