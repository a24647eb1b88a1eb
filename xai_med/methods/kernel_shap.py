"""KernelSHAP: Shapley values of an image's parts, by weighted regression over coalitions."""

from itertools import chain
from typing import Any

import numpy as np

from xai_med.answers import answers
from xai_med.baselines import Baseline, baseline_images
from xai_med.checks import Check
from xai_med.coalitions import drawn_coalitions, shapley_values
from xai_med.errors import SettingError
from xai_med.masked import masked_scores
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.superpixels import masks_of_choices, parts_of_images
from xai_med.verification import verify_again


@register_method(
    "kernel_shap",
    source="Lundberg, Lee 2017, arXiv:1705.07874, theorem 2; constrained: Covert, Lee 2021, arXiv:2012.01536",
    cost="one forward pass per coalition: 2,048 by default, all 2^parts where there are fewer",
    needs="answers only",
    properties=("complete", "linear_in_target"),
    verification=verify_again("kernel_shap"),
    only_asks=True,
)
def kernel_shap(
    request: Request,
    *,
    parts: Any = "slic",
    count: int = 30,
    samples: int = 2048,
    seed: int = 0,
    baseline: Baseline = 0.0,
    batch_size: int | None = None,
    progress: bool = False,
) -> Attribution:
    """Share the rise of the score above the baseline among the parts of the image, as Shapley's axioms demand.

    Parameters
    ----------
    request : Request
        What to explain.
    parts : str or array
        ``"slic"``, ``"tiles"``, or integers (*space) or (N, *space) (see `xai_med.superpixels.parts_of_images`).
    count : int
        Of superpixels or tiles, about.
    samples : int
        Coalitions, drawn in complementary pairs; where there are not more than these in all, each is taken once and
        the values are exact.
    seed : int
        Of the draws.
    baseline : number, str or array
        What absent parts are replaced by (see `xai_med.baselines.baseline_images`).
    batch_size : int or None
        Most images in one forward pass; None: 32, and 1 for models whose operations cannot be seen, which may mix the
        images of a batch without anybody noticing.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Attribution
        `values` and `maps` (N, K, *space): each pixel its part's Shapley value divided by the part's pixels, so that
        the map's sum is S(image) - S(baseline), which is checked; `extras`: ``parts`` (N, *space).

    Raises
    ------
    SettingError
        Fewer samples than parts need, or a setting out of its range.
    RegionError
        An image has one part only.
    MissingDependencyError
        scikit-image is not installed.
    """
    request.without_layer("kernel_shap")
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 4:
        raise SettingError(f"samples is a number of coalitions, at least 4, got {samples!r}")
    asked = answers(request, batch_size=batch_size)
    labels = parts_of_images(asked.images, parts, count)
    coalitions = [drawn_coalitions(int(each.max()) + 1, samples, seed) for each in labels]
    longest = max(len(each.kept) for each in coalitions)
    chosen = masks_of_choices(labels, [each.kept for each in coalitions], longest)
    masks = chain([np.zeros(labels.shape)], chosen)  # nothing first
    replacement = baseline_images(asked.images, baseline)
    asking = masked_scores(asked, replacement, masks, total=longest + 1, what="kernel_shap", progress=progress)
    nothing, *rest = asking
    scores, clean = np.stack(rest), asked.explained.selection.scores
    maps = np.empty((*clean.shape, *request.space))
    for n, (each, coalition) in enumerate(zip(labels, coalitions, strict=True)):
        found = shapley_values(coalition, scores[: len(coalition.kept), n], nothing[n], clean[n])
        maps[n] = (found / np.bincount(each.ravel())).astype(np.float64)[:, each]
    values = request.network.tensors.from_numpy(maps, request.batch)
    rise = clean - nothing
    sums = maps.reshape(*rise.shape, -1).sum(axis=2)
    size = np.maximum(np.abs(rise), np.abs(maps).reshape(*rise.shape, -1).sum(axis=2))
    off = np.abs(sums - rise) / np.where(size > 0, size, 1)
    name = "completeness: sum of the map against the difference of scores"
    exact = all(each.is_complete for each in coalitions)
    note = "every coalition was asked: exact" if exact else f"{longest} coalitions, an estimate"
    check = Check(name, float(off.max()), 1e-6, note=note, key="completeness")
    return Attribution(values, values, asked.explained, checks=(check,), extras={"parts": labels})
