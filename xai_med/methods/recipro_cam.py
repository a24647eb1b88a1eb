"""ReciproCAM: the score that each place of a layer's features gives alone."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.changed_features import features_of
from xai_med.progress import with_progress
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.verification import verify_again


@register_method(
    "recipro_cam",
    source="Byun, Lee 2022, arXiv:2209.14074, section 3",
    cost="one forward pass for each place of the layer, for all classes",
    needs="a layer with space axes",
    properties=("linear_in_target", "mirror_equivariant"),
    verification=verify_again("recipro_cam"),
)
def recipro_cam(
    request: Request, *, gaussian: bool = False, batch_size: int = 32, progress: bool = False
) -> Attribution:
    """Keep one place of the features after the other and take the scores that the model then gives.

    Parameters
    ----------
    request : Request
        `layer` as in `xai_med.layer_maps.map_at_layer`.
    gaussian : bool
        Keep the neighbours too, with weights 1/4, 1/2, 1/4 along each axis in place of a single one.
    batch_size : int
        Most images in one forward pass.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Attribution
        `values` of shape (N, K, *layer space), in units of the score: what the place adds to the score of empty
        features. The paper shows the same map between its minimum and maximum.

    Raises
    ------
    LayerError
        No layer with space axes was found or named.
    NotApplicableError
        The model cannot go on from changed features.
    """
    found = features_of(request, "recipro_cam", batch_size=batch_size)
    features, clean = found.values, found.explained.selection.scores
    space = features.shape[2:]
    places = list(product(*(range(size) for size in space)))
    changed = (features * mask for mask in _masks(places, space, gaussian))
    scores = found.scores(changed, batch_size=batch_size)
    nothing, *alone = with_progress(scores, total=len(places) + 1, what="recipro_cam", shown=progress)
    maps = np.stack([score - nothing for score in alone], axis=-1).reshape(*clean.shape, *space)
    return found.attribution(maps, relu=False)


def _masks(places: list[tuple[int, ...]], space: tuple[int, ...], gaussian: bool) -> Iterator[Array]:
    """Nothing first, then each place."""
    yield np.zeros(space, dtype=np.float32)
    for place in places:
        mask = np.ones(space, dtype=np.float32)
        for axis, (index, size) in enumerate(zip(place, space, strict=True)):
            distance = np.abs(np.arange(size) - index)
            along = np.where(distance == 0, 0.5, np.where(distance == 1, 0.25, 0)) if gaussian else distance == 0
            mask *= along.reshape(-1, *(1,) * (len(space) - axis - 1)).astype(np.float32)
        yield mask
