"""pytorch-grad-cam: positive part, zero to one, enlarged, and zero to one once more."""

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from scipy import ndimage

from xai_med.backend.tensors import Array
from xai_med.explanation import Explanation
from xai_med.maps.resize import resize
from xai_med.profiles.profile import Convention, Profile
from xai_med.profiles.shapes import space_axes, zero_to_one

_EPSILON = 1e-7  # added to the maximum before it divides
_SPLINE = 3  # order of SciPy's zoom, which volumes are enlarged by


def scaled(explanation: Explanation) -> Array:
    """The array of a map whose layer maps are ready, (N, K, *space), float32."""
    return _scaled(explanation.attribution, explanation)


def _by_share_of_score(explanation: Explanation) -> Array:
    """Their falls are shares of the score; of its size, as a negative score would turn the map around."""
    scores = np.abs(explanation.scores)
    sizes = np.where(scores > 0, scores, 1).reshape(*scores.shape, *(1,) * (explanation.maps.ndim - 2))
    return _scaled(explanation.attribution / sizes, explanation)


def _scaled(maps: Array, explanation: Explanation) -> Array:
    space, axes = explanation.maps.shape[2:], space_axes(explanation)
    first = zero_to_one(np.maximum(maps.astype(np.float64), 0), axes, _EPSILON)
    enlarged = resize(first, space) if len(space) == 2 else _zoomed(first, space)
    return zero_to_one(np.maximum(enlarged, 0), axes, _EPSILON).astype(np.float32)


def _zoomed(maps: Array, space: tuple[int, ...]) -> Array:
    """Enlarge volumes by cubic splines whose first and last samples coincide with those of the maps."""
    factors = [size / old for size, old in zip(space, maps.shape[2:], strict=True)]
    return np.stack([[ndimage.zoom(one.astype(np.float32), factors, order=_SPLINE) for one in row] for row in maps])


def _convention(
    name: str,
    differs: str,
    array: Callable[[Explanation], Array] = scaled,
    *,
    asks_score: bool = True,
    **settings: object,
) -> Convention:
    fixed = {"relu": True, **settings}
    return Convention(
        call=f"{name}(model, [layer])(x, targets)",
        differs=differs,
        array=array,
        settings={key: (value,) for key, value in fixed.items()},
        space_axes=(2, 3),
        asks_score=asks_score,
    )


PYTORCH_GRAD_CAM = Profile(
    name="pytorch_grad_cam",
    compared_with="grad-cam 1.5",
    conventions=MappingProxyType(
        {
            "grad_cam": _convention("GradCAM", "as all of them", over_channels="sum"),
            "grad_cam_plus_plus": _convention(
                "GradCAMPlusPlus", "1e-6 in the denominator of the shares", epsilon=1e-6, variant="published"
            ),
            "hires_cam": _convention("HiResCAM", "ReLU, which the paper does not have"),
            "layer_cam": _convention("LayerCAM", "as all of them"),
            "xgrad_cam": _convention("XGradCAM", "1e-7 beside the sum of features, which we do not add (below 1e-5)"),
            "eigen_cam": _convention("EigenCAM", "centred features; positive part", asks_score=False, centred=True),
            "eigen_grad_cam": _convention("EigenGradCAM", "centred; positive part", centred=True),
            "ablation_cam": _convention("AblationCAM", "falls as shares of the score", _by_share_of_score),
        }
    ),
    faults=MappingProxyType(
        {
            "the sign of EigenCAM and EigenGradCAM": "a singular vector has none, and theirs is whatever the "
            "decomposition returns: a map may show the opposite; ours goes along with the features",
            "AblationCAM of a negative score": "the share of a negative score turns the map around; ours divides by "
            "the score's size",
            "AblationCAM of features whose smallest value is not zero": "1e7 is subtracted instead of ablating, where "
            "the score says nothing; ours sets the channel to zero",
        }
    ),
    not_covered=MappingProxyType(
        {
            "score_cam": "its masks are enlarged with the corners aligned, ours with half-pixel centres, so that the "
            "model is shown other images",
            "cam": "it has none",
        }
    ),
)
"""pytorch-grad-cam's conventions."""
