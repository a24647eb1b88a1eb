"""MONAI: enlarged, and turned around so that the strongest evidence is 0."""

from types import MappingProxyType

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.explanation import Explanation
from xai_med.maps.resize import resize
from xai_med.profiles.profile import Convention, Profile
from xai_med.profiles.shapes import as_attributed, space_axes


def _one_to_zero(maps: Array, explanation: Explanation) -> Array:
    """Enlarge, and map the smallest value to 1 and the largest to 0; (N, K, 1, *space), float32."""
    axes = space_axes(explanation)
    enlarged = resize(maps.astype(np.float64), explanation.maps.shape[2:]).astype(np.float32)
    low, high = enlarged.min(axis=axes, keepdims=True), enlarged.max(axis=axes, keepdims=True)
    turned = 1 - (enlarged - low) / np.where(high > low, high - low, 1)
    return np.asarray(np.where(high > low, turned, enlarged)[:, :, None].astype(np.float32))  # a constant map stays


def _inverted(explanation: Explanation) -> Array:
    return _one_to_zero(explanation.attribution, explanation)


def _inverted_with_bias(explanation: Explanation) -> Array:
    """With the head's bias in every place, which shows in constant maps only."""
    maps = explanation.attribution.astype(np.float64)
    axes = space_axes(explanation)
    scores = explanation.scores.reshape(*explanation.scores.shape, *(1,) * len(axes))
    return _one_to_zero(maps - maps.mean(axis=axes, keepdims=True) + scores, explanation)


def _root_over_samples(explanation: Explanation) -> Array:
    """Root of the sum of squares over the number of samples: the root mean square over the root of that number."""
    return np.asarray(np.sqrt(explanation.attribution / explanation.settings["samples"]))


MONAI = Profile(
    name="monai",
    compared_with="MONAI 1.6",
    conventions=MappingProxyType(
        {
            "cam": Convention(
                call="CAM(model, layer, fc_layer)(x, class_idx)",
                differs="with the head's bias; enlarged (half-pixel centres), then turned around, 1 for the smallest "
                "and 0 for the largest value; (N, 1, *space)",
                array=_inverted_with_bias,
                asks_score=False,
            ),
            "grad_cam": Convention(
                call="GradCAM(model, layer)(x, class_idx)",
                differs="enlarged after the ReLU, then turned around as for cam; a map without evidence is 0 "
                "everywhere; (N, 1, *space)",
                array=_inverted,
                settings={"relu": (True,), "over_channels": ("sum",)},
            ),
            "gradient": Convention(
                call="VanillaGrad(model)(x, index)",
                differs="signed, each channel; one image at a time there; (N, C, *space)",
                array=as_attributed,
            ),
            "smooth_grad": Convention(
                call="SmoothGrad(model)(x, index)",
                differs="25 samples, noise 0.15; root of the sum of squares, over the number of samples; one image "
                "at a time there; other noise; (N, C, *space)",
                array=_root_over_samples,
                settings={"of": ("gradient",), "statistic": ("square",), "of_settings": (None,)},
                defaults={"samples": 25, "noise": 0.15},
            ),
            "guided_backprop": Convention(
                call="GuidedBackpropGrad(model)(x, index)",
                differs="each channel; one image at a time there; (N, C, *space)",
                array=as_attributed,
            ),
        }
    ),
    faults=MappingProxyType(
        {
            "the predicted class of SmoothGrad": "without an index each noisy copy explains its own predicted "
            "class; ours keeps that of the clean image",
            "ReLUs under guided backpropagation": "only modules with 'relu' in their names are changed; ours changes "
            "every ReLU",
        }
    ),
    not_covered=MappingProxyType(
        {
            "grad_cam_plus_plus": "its denominators sum features times cubed gradients over a channel, where equation "
            "19 of the paper has the sum of features times each place's own gradient cubed, "
            "another method",
            "occlusion": "it returns the probabilities of the occluded images, not what is lost, under Gaussian "
            "patches; and takes a sigmoid or a softmax by the number of the image's channels, which is a fault",
        }
    ),
)
"""MONAI's conventions."""
