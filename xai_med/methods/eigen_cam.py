"""Eigen-CAM: the strongest pattern in a layer's features, whatever the class."""

import numpy as np

from xai_med.changed_features import features_of
from xai_med.checks import Check
from xai_med.principal import principal_map
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.verification import verify_again


@register_method(
    "eigen_cam",
    source="Muhammad, Yeasin 2020, arXiv:2008.00299, section III",
    cost="one forward pass, and a singular value decomposition of each image's features",
    needs="a layer with space axes",
    properties=("class_independent", "mirror_equivariant"),
    verification=verify_again("eigen_cam"),
)
def eigen_cam(request: Request, *, centred: bool = False, relu: bool = False) -> Attribution:
    """Project features on their first right singular vector.

    **The map does not depend on the class**: it is the same for every score, and tells what the layer sees most of,
    not what speaks for a finding. The result says so.

    Parameters
    ----------
    request : Request
        `layer` as in `xai_med.layer_maps.map_at_layer`.
    centred : bool
        Subtract each channel's mean first, as pytorch-grad-cam does; the paper does not.
    relu : bool
        Keep only the positive part.

    Returns
    -------
    Attribution
        `values` of shape (N, K, *layer space), the same for each score, in units of the features. Signed so that it
        goes along with the sum of channels; for features behind a ReLU it has no negative place.

    Raises
    ------
    LayerError
        No layer with space axes was found or named, or there is no single strongest pattern.
    """
    found = features_of(request, "eigen_cam")
    one = np.stack([principal_map(image, centred=centred, like=image.sum(axis=0)) for image in found.values])
    maps = np.repeat(one[:, None], found.explained.count, axis=1)
    given = found.attribution(maps, relu=relu)
    note = "the strongest pattern of the layer, the same for every class"
    independent = Check(
        "maps that do not depend on the score", float(maps.shape[1]), note=note, key="class_independent"
    )
    return Attribution(
        given.values, given.maps, given.explained, layer=given.layer, checks=(*given.checks, independent)
    )
