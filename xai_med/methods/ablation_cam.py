"""Ablation-CAM: features of a layer, each channel weighed by what the score loses without it."""

import numpy as np

from xai_med.changed_features import features_of
from xai_med.progress import with_progress
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.verification import verify_again


@register_method(
    "ablation_cam",
    source="Desai, Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360, equations 2 and 3",
    cost="one forward pass for each channel of the layer",
    needs="a layer with space axes",
    properties=("mirror_equivariant", "non_negative"),
    verification=verify_again("ablation_cam"),
)
def ablation_cam(request: Request, *, relu: bool = True, batch_size: int = 32, progress: bool = False) -> Attribution:
    """Set one channel after the other to zero and weigh it by the fall of the score.

    Parameters
    ----------
    request : Request
        `layer` as in `xai_med.layer_maps.map_at_layer`.
    relu : bool
        Keep only positive evidence (the published method).
    batch_size : int
        Most images in one forward pass.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Attribution
        `values` of shape (N, K, *layer space). The paper divides each fall by the score, which scales the map by one
        number, and turns it around where the score is negative; here the fall itself is the weight, in units of the
        score.

    Raises
    ------
    LayerError
        No layer with space axes was found or named.
    NotApplicableError
        The model cannot go on from changed features.
    """
    found = features_of(request, "ablation_cam", batch_size=batch_size)
    features, clean = found.values, found.explained.selection.scores
    living = [channel for channel in range(features.shape[1]) if features[:, channel].any()]
    without = (_without(features, channel) for channel in living)
    scores = with_progress(
        found.scores(without, batch_size=batch_size), total=len(living), what="ablation_cam", shown=progress
    )
    maps = np.zeros((*clean.shape, *features.shape[2:]))
    for channel, score in zip(living, scores, strict=True):
        maps += np.einsum("nk,n...->nk...", clean - score, features[:, channel])
    return found.attribution(maps, relu=relu)


def _without(features: np.ndarray, channel: int) -> np.ndarray:
    changed = features.copy()
    changed[:, channel] = 0
    return changed
