"""torch-cam: zero to one at the layer's own resolution."""

from types import MappingProxyType

from xai_med.backend.tensors import Array
from xai_med.explanation import Explanation
from xai_med.profiles.profile import Convention, Profile
from xai_med.profiles.shapes import space_axes, zero_to_one

_EPSILON = 1e-8  # added to the maximum before it divides


def _normalised(explanation: Explanation) -> Array:
    """Zero to one, (N, K, *layer space)."""
    return zero_to_one(explanation.attribution, space_axes(explanation), _EPSILON)


def _relative(name: str, **settings: object) -> Convention:
    fixed = {"relu": True, **settings}
    return Convention(
        call=f"{name}(model, layer)(class_idx, scores)",
        differs="zero to one (1e-8 beside the maximum) after the ReLU; not enlarged, (N, *layer space)",
        array=_normalised,
        settings={key: (value,) for key, value in fixed.items()},
    )


TORCHCAM = Profile(
    name="torchcam",
    compared_with="torchcam 0.5",
    conventions=MappingProxyType(
        {
            "cam": Convention(
                call="CAM(model, layer, fc_layer)(class_idx)",
                differs="signed, zero to one (1e-8 beside the maximum); not enlarged, (N, *layer space)",
                array=_normalised,
                asks_score=False,
            ),
            "grad_cam": _relative("GradCAM", over_channels="sum"),
            "layer_cam": _relative("LayerCAM"),
            "xgrad_cam": _relative("XGradCAM"),
        }
    ),
    faults=MappingProxyType(
        {
            "CAM of a layer before the last ReLU": "whatever module is named is weighed, as the batch norm that ends "
            "torchvision's DenseNet, and the map's mean is then not the logit; ours takes what enters the pool",
        }
    ),
    not_covered=MappingProxyType(
        {
            "grad_cam_plus_plus": "its denominators sum features times cubed gradients over a channel, where equation "
            "19 of the paper has the sum of features times each place's own gradient cubed, "
            "and its division acts on a copy, so that the shares stay squared gradients: "
            "another method",
            "score_cam": "its masks are brought to 0..1 before they are enlarged, ours after, as published, so that "
            "the model is shown other images",
        }
    ),
)
"""torch-cam's conventions."""
