"""Captum: signed, raw, where it arises."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from xai_med.backend.operations import Kind
from xai_med.backend.tensors import Array
from xai_med.errors import NotApplicableError, SettingError
from xai_med.explanation import Explanation
from xai_med.profiles.profile import Convention, Profile
from xai_med.profiles.shapes import as_attributed, with_channel_axis


def _magnitudes(explanation: Explanation) -> Array:
    return np.abs(explanation.attribution)


def _in_every_channel(explanation: Explanation) -> Array:
    """What the score loses, once for each channel of the image: windows hide all of them together."""
    if explanation.input is None:
        raise SettingError("captum's occlusion has the image's channels, and keep_input=False was given")
    images, channels, *space = explanation.input.shape
    maps = explanation.attribution[:, :, None]
    return np.broadcast_to(maps, (images, maps.shape[1], channels, *space)).copy()


def _refuse_uneven_windows(settings: Mapping[str, Any], space: tuple[int, ...]) -> None:
    patches, steps = (
        (given,) * len(space) if isinstance(given, int) else given for given in (settings["patch"], settings["stride"])
    )
    for size, patch, step in zip(space, patches, steps, strict=False):  # the method refuses what is no size
        if isinstance(patch, int) and isinstance(step, int) and step > 0 and (size - patch) % step:
            raise SettingError(
                f"windows of {patch}, {step} apart, do not end where {size} pixels end: captum's last one hangs over "
                f"the edge, ours ends at it; choose a patch and a stride that fit"
            )


def _without_batch_norm(explanation: Explanation) -> Array:
    if f" {Kind.BATCH_NORM.value}:" in explanation.check("operations").note:
        raise NotApplicableError(
            "the model has batch norms, on which captum's epsilon rule gives their biases what belongs to the "
            "features; that is not reproduced: use method='lrp' without the profile"
        )
    return explanation.attribution


CAPTUM = Profile(
    name="captum",
    compared_with="captum 0.9",
    conventions=MappingProxyType(
        {
            "grad_cam": Convention(
                call="LayerGradCam(model, layer).attribute(x, target)",
                differs="no ReLU; not enlarged; (N, 1, *layer space)",
                array=with_channel_axis,
                settings={"relu": (False,), "over_channels": ("sum",)},
            ),
            "gradient": Convention(
                call="Saliency(model).attribute(x, target)",
                differs="magnitudes of each channel; (N, C, *space)",
                array=_magnitudes,
            ),
            "input_x_gradient": Convention(
                call="InputXGradient(model).attribute(x, target)",
                differs="each channel; (N, C, *space)",
                array=as_attributed,
            ),
            "guided_backprop": Convention(
                call="GuidedBackprop(model).attribute(x, target)",
                differs="each channel; (N, C, *space)",
                array=as_attributed,
            ),
            "deconvnet": Convention(
                call="Deconvolution(model).attribute(x, target)",
                differs="each channel; (N, C, *space)",
                array=as_attributed,
            ),
            "guided_grad_cam": Convention(
                call="GuidedGradCam(model, layer).attribute(x, target)",
                differs="Grad-CAM in blocks (interpolation='nearest'; or 'linear' if given); (N, C, *space)",
                array=as_attributed,
                settings={"interpolation": ("nearest", "linear")},
            ),
            "occlusion": Convention(
                call="Occlusion(model).attribute(x, sliding_window_shapes, strides, target)",
                differs="stride 1 unless given, no default window; the same in each channel, (N, C, *space)",
                array=_in_every_channel,
                defaults={"stride": 1},
                required=("patch",),
                refuse=_refuse_uneven_windows,
            ),
            "lrp": Convention(
                call="LRP(model).attribute(x, target)",
                differs="epsilon 1e-9 on every layer, from the logit; each channel, (N, C, *space)",
                array=_without_batch_norm,
                settings={"composite": ("epsilon",), "epsilon": (1e-9,)},
            ),
        }
    ),
    faults=MappingProxyType(
        {
            "LRP on batch norm": "its epsilon rule treats the norm as a layer with weights, whose bias takes "
            "relevance or multiplies it without bound; refused here",
            "LRP on operations that are no modules": "functional additions, products and pools are passed by their own "
            "derivative, so that relevance is counted twice or lost; ours sees operations, not modules",
            "blocks of GuidedGradCam at some sizes": "PyTorch's nearest interpolation rounds in single precision, and "
            "moves the edge of a block by one pixel, as from 2 to 82 cells; ours counts in whole numbers",
            "functional ReLUs under guided backpropagation and deconvnets": "hooks on modules do not see them, so that "
            "their backward pass stays the ordinary one without a word; ours changes every ReLU",
        }
    ),
    not_covered=MappingProxyType(
        {
            "integrated_gradients": "its 50 Gauss-Legendre points and our adaptive midpoints are two quadratures, "
            "equal only in the limit",
            "smooth_grad": "its NoiseTunnel takes the noise's standard deviation as an absolute number; ours is a "
            "share of the image's range",
            "lime": "other samples and another kernel",
            "kernel_shap": "other samples",
        }
    ),
)
"""Captum's conventions."""
