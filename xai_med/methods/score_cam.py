"""Score-CAM: features of a layer, each channel weighed by the score of the image seen through it."""

from collections.abc import Iterator

import numpy as np

from xai_med.answers import answers
from xai_med.backend.tensors import Array
from xai_med.baselines import Baseline, baseline_images
from xai_med.changed_features import features_of
from xai_med.maps.resize import resize
from xai_med.masked import masked_scores
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.verification import verify_again


@register_method(
    "score_cam",
    source="Wang et al. 2020, arXiv:1910.01279, equations 5 to 8, algorithm 1",
    cost="one forward pass for each channel of the layer",
    needs="a layer with space axes",
    properties=("mirror_equivariant", "non_negative"),
    verification=verify_again("score_cam"),
)
def score_cam(
    request: Request,
    *,
    relu: bool = True,
    baseline: Baseline = 0.0,
    batch_size: int = 32,
    progress: bool = False,
) -> Attribution:
    """Show the model the image through each channel's own map, and weigh the channel by the score.

    Parameters
    ----------
    request : Request
        `layer` as in `xai_med.layer_maps.map_at_layer`; its cells must divide the image evenly.
    relu : bool
        Keep only positive evidence (the published method).
    baseline : number, str or array
        What is mixed in where a channel is low (see `xai_med.baselines.baseline_images`), and whose score is
        subtracted. Zero as published, which is mid-grey after the usual normalisation.
    batch_size : int
        Most images in one forward pass.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Attribution
        `values` of shape (N, K, *layer space): ``sum_k softmax(s)_k A_k``, s_k the rise of the score above the
        baseline's, a channel enlarged and brought to 0..1; in units of the features. Constant channels mask nothing
        and have no part in it.

    Raises
    ------
    LayerError
        No layer with space axes was found or named, or its cells do not divide the image evenly.
    """
    found = features_of(request, "score_cam", batch_size=batch_size)
    with request.features():  # refuses cells that do not divide the image evenly
        pass
    features, clean = found.values, found.explained.selection.scores
    asked = answers(request, batch_size=batch_size)
    axes = tuple(range(2, features.ndim))
    varies = features.max(axis=axes) > features.min(axis=axes)
    living = np.flatnonzero(varies.any(axis=0))
    replacement = baseline_images(asked.images, baseline)
    masks = _masks(features, living, request.space)
    nothing, *scores = masked_scores(
        asked, replacement, masks, total=len(living) + 1, what="score_cam", progress=progress
    )
    rises = np.full((*clean.shape, features.shape[1]), -np.inf)
    for channel, score in zip(living, scores, strict=True):
        rises[:, :, channel] = np.where(varies[:, channel, None], score - nothing, -np.inf)
    return found.attribution(np.einsum("nkc,nc...->nk...", _softmax(rises), features), relu=relu)


def _softmax(rises: Array) -> Array:
    """Over the last axis; all zero where nothing is finite."""
    highest = rises.max(axis=-1, keepdims=True)
    powers = np.exp(rises - np.where(np.isfinite(highest), highest, 0))
    total = powers.sum(axis=-1, keepdims=True)
    return np.asarray(powers / np.where(total > 0, total, 1))


def _masks(features: Array, living: Array, space: tuple[int, ...]) -> Iterator[Array]:
    """Nothing first, then each channel that varies, enlarged and brought to 0..1."""
    yield np.zeros((len(features), *space))
    axes = tuple(range(1, len(space) + 1))
    for channel in living:
        enlarged = resize(features[:, channel].astype(np.float64), space)
        low, high = enlarged.min(axis=axes, keepdims=True), enlarged.max(axis=axes, keepdims=True)
        yield (enlarged - low) / np.where(high > low, high - low, 1)
