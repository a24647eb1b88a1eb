"""Score-CAM: features of a layer, each channel weighed by the score of the image seen through it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from xai_med.answers import answers
from xai_med.backend.tensors import Array, shape_of
from xai_med.baselines import Baseline, baseline_images
from xai_med.changed_features import Features, features_of
from xai_med.errors import NonFiniteError, OpaqueModelError, ShapeError
from xai_med.layer_maps import without_evidence
from xai_med.maps.resize import resize
from xai_med.masked import masked_scores
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.verification import verify_again


@register_method(
    "score_cam",
    source="Wang et al. 2020, arXiv:1910.01279, equations 5 to 8, algorithm 1",
    cost="one forward pass for each channel of the layer",
    needs="a layer with space axes, or features that are given",
    properties=("mirror_equivariant", "non_negative"),
    verification=verify_again("score_cam"),
    only_asks=True,
)
def score_cam(
    request: Request,
    *,
    relu: bool = True,
    features: Any = None,
    baseline: Baseline = 0.0,
    batch_size: int | None = None,
    progress: bool = False,
) -> Attribution:
    """Show the model the image through each channel's own map, and weigh the channel by the score.

    Parameters
    ----------
    request : Request
        `layer` as in `xai_med.layer_maps.map_at_layer`; its cells must divide the image evenly.
    relu : bool
        Keep only positive evidence (the published method).
    features : array of shape (N, C, *any space), optional
        To be taken in place of a layer's, such as a second output of an ONNX session, whose layers cannot be seen.
    baseline : number, str or array
        What is mixed in where a channel is low (see `xai_med.baselines.baseline_images`), and whose score is
        subtracted. Zero as published, which is mid-grey after the usual normalisation.
    batch_size : int or None
        Most images in one forward pass; None: 32, and 1 for models whose operations cannot be seen, which may mix the
        images of a batch without anybody noticing.
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
    ShapeError
        Given features are not one set (C, *space) for each image.
    OpaqueModelError
        The model's layers cannot be seen, and no features were given.
    """
    found = None if features is not None else _found(request, batch_size)
    seen = _given(features, request) if found is None else found.values
    asked = answers(request, batch_size=batch_size)
    clean, axes = asked.explained.selection.scores, tuple(range(2, seen.ndim))
    varies = seen.max(axis=axes) > seen.min(axis=axes)
    living = np.flatnonzero(varies.any(axis=0))
    replacement = baseline_images(asked.images, baseline)
    masks = _masks(seen, living, request.space)
    nothing, *scores = masked_scores(
        asked, replacement, masks, total=len(living) + 1, what="score_cam", progress=progress
    )
    rises = np.full((*clean.shape, seen.shape[1]), -np.inf)
    for channel, score in zip(living, scores, strict=True):
        rises[:, :, channel] = np.where(varies[:, channel, None], score - nothing, -np.inf)
    maps = np.einsum("nkc,nc...->nk...", _softmax(rises), seen)
    if found is not None:
        return found.attribution(maps, relu=relu)
    values = request.network.tensors.from_numpy(np.maximum(maps, 0) if relu else maps, request.batch)
    checks = (without_evidence(np.maximum(maps, 0)),) if relu else ()
    return Attribution(values, values, asked.explained, layer="features that were given", checks=checks)


def _found(request: Request, batch_size: int | None) -> Features:
    if request.is_opaque:
        raise OpaqueModelError("the model's layers cannot be seen; give features=, or use occlusion or rise")
    with request.features():  # refuses cells that do not divide the image evenly
        pass
    return features_of(request, "score_cam", batch_size=batch_size)


def _given(features: Any, request: Request) -> Array:
    request.without_layer("score_cam with features=")
    network, wanted = request.network, shape_of(request.batch)
    given = network.tensors.to_numpy(features) if network.is_tensor(features) else np.asarray(features)
    if given.dtype.kind != "f" or given.ndim != len(wanted) or given.shape[0] != wanted[0]:
        raise ShapeError(
            f"features are {given.dtype} of shape {given.shape}; give floating-point (N, C, *space) with "
            f"N = {wanted[0]} and {len(wanted) - 2} space axes"
        )
    if not np.isfinite(given).all():
        raise NonFiniteError("the given features hold NaN or infinite values")
    return given


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
