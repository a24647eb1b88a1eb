"""Guided Grad-CAM: guided backpropagation, kept where Grad-CAM is positive."""

from dataclasses import replace

from xai_med.backend.tensors import Tensor, shape_of
from xai_med.errors import SettingError
from xai_med.input_gradients import read_out_named, verify_read_out
from xai_med.maps.resize import resize
from xai_med.methods.grad_cam import grad_cam
from xai_med.methods.guided_backprop import guided_backprop
from xai_med.registry import register_method
from xai_med.request import Attribution, Request


@register_method(
    "guided_grad_cam",
    source="Selvaraju et al. 2017, arXiv:1610.02391, section 3.2",
    cost="two forward passes, and per class a pullback to the layer and one to the input",
    needs="a ReLU network and a layer with space axes",
    properties=("mirror_equivariant", "non_negative"),
    verification=verify_read_out,
)
def guided_grad_cam(request: Request, *, read_out: str = "max_abs", interpolation: str = "linear") -> Attribution:
    """Multiply guided backpropagation by the enlarged Grad-CAM map.

    **Do not read the fine detail of these maps as evidence.** It is guided backpropagation's, which shows the image's
    edges whatever the weights (Adebayo et al. 2018, arXiv:1810.03292); only Grad-CAM's coarse part depends on the
    class.

    Parameters
    ----------
    request : Request
        `layer` as for ``grad_cam``.
    read_out : str
        As for ``gradient``.
    interpolation : str
        How Grad-CAM is enlarged: ``"linear"`` (the paper's), or ``"nearest"``, in blocks.

    Returns
    -------
    Attribution
        `values` (N, K, C, *space); `maps` (N, K, *space), read out. `layer` is Grad-CAM's.

    Raises
    ------
    SettingError
        Unknown read-out or interpolation.
    NotApplicableError
        The model has no ReLU, or rectifies by a comparison.
    UnsupportedOperationError
        The model has an activation of another kind.
    LayerError
        No layer with space axes was found or named.
    """
    if interpolation not in ("linear", "nearest"):
        raise SettingError(f"interpolation={interpolation!r} is unknown; choose 'linear' or 'nearest'")
    read, tensors = read_out_named(read_out), request.network.tensors
    guided = guided_backprop(replace(request, layer=None), {})
    coarse = grad_cam(request, {})
    is_nearest = interpolation == "nearest"
    enlarged = resize(tensors.stop_gradient(coarse.maps), request.space, tensors=tensors, nearest=is_nearest)
    images, classes, *space = shape_of(enlarged)
    values: Tensor = guided.values * tensors.reshape(enlarged, (images, classes, 1, *space))
    return Attribution(
        values,
        read(values, tensors),
        coarse.explained,
        layer=coarse.layer,
        checks=(*coarse.checks, *guided.checks),
        rules=("ReLU: guided",),
    )
