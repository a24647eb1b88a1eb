"""LIME: a weighted linear model of the score by which superpixels are kept."""

from typing import Any

import numpy as np

from xai_med.answers import answers
from xai_med.backend.tensors import Array, precision
from xai_med.baselines import Baseline, baseline_images
from xai_med.checks import Check
from xai_med.errors import SettingError
from xai_med.masked import masked_scores
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.superpixels import masks_of_choices, parts_of_images
from xai_med.verification import verify_again


@register_method(
    "lime",
    source="Ribeiro, Singh, Guestrin 2016, arXiv:1602.04938, equations 1 and 2, algorithm 1",
    cost="one forward pass per sample: 1,000 by default",
    needs="answers only",
    properties=("linear_in_target",),
    verification=verify_again("lime"),
    only_asks=True,
)
def lime(
    request: Request,
    *,
    parts: Any = "slic",
    count: int = 50,
    samples: int = 1000,
    kernel_width: float = 0.25,
    ridge: float = 1.0,
    seed: int = 0,
    baseline: Baseline = "mean",
    batch_size: int | None = None,
    progress: bool = False,
) -> Attribution:
    """Hide random halves of the superpixels and fit how much each one adds to the score.

    Parameters
    ----------
    request : Request
        What to explain.
    parts : str or array
        ``"slic"``, ``"tiles"``, or integers (*space) or (N, *space) (see `xai_med.superpixels.parts_of_images`).
    count : int
        Of superpixels or tiles, about.
    samples : int
        Random choices of kept parts, of which the first keeps all.
    kernel_width : float
        Of the weight ``exp(-d² / width²)``, d the cosine distance of a choice from keeping all.
    ridge : float
        Penalty of squared coefficients; the intercept has none.
    seed : int
        Of the choices.
    baseline : number, str or array
        What hidden parts are replaced by (see `xai_med.baselines.baseline_images`).
    batch_size : int or None
        Most images in one forward pass; None: 32, and 1 for models whose operations cannot be seen, which may mix the
        images of a batch without anybody noticing.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Attribution
        `values` and `maps` (N, K, *space): each pixel its part's coefficient, in units of the score; how much of the
        scores' scatter the linear model explains is among the checks; `extras`: ``parts`` (N, *space).

    Raises
    ------
    SettingError
        A setting is out of its range.
    RegionError
        An image has one part only.
    MissingDependencyError
        scikit-image is not installed.
    """
    request.without_layer("lime")
    _check_settings(samples, kernel_width, ridge)
    asked = answers(request, batch_size=batch_size)
    labels = parts_of_images(asked.images, parts, count)
    kept = [_choices(int(each.max()) + 1, samples, seed) for each in labels]
    masks = masks_of_choices(labels, kept, samples)
    replacement = baseline_images(asked.images, baseline)
    scores = np.stack(list(masked_scores(asked, replacement, masks, total=samples, what="lime", progress=progress)))
    maps = np.empty((*scores.shape[1:], *request.space))
    rounding = 64 * precision(request.network.tensors.dtype(request.batch))
    fits = np.empty(scores.shape[1:])
    for n, (each, choices) in enumerate(zip(labels, kept, strict=True)):
        coefficients, fits[n] = _fitted(choices, scores[:, n], kernel_width, ridge, rounding)
        maps[n] = coefficients.T[:, each]
    values = request.network.tensors.from_numpy(maps, request.batch)
    name = "share of the scores' scatter that the linear model leaves unexplained"
    check = Check(name, float(1 - fits.min()), note="of the worst image and score; weighted", key="unexplained")
    return Attribution(values, values, asked.explained, checks=(check,), extras={"parts": labels})


def _choices(parts: int, samples: int, seed: int) -> Array:
    """Which parts are kept, (samples, parts): all of them first, then each by the toss of a coin."""
    chosen = np.random.default_rng(seed).integers(0, 2, size=(samples, parts)).astype(np.float64)
    chosen[0] = 1
    return chosen


def _fitted(choices: Array, scores: Array, kernel_width: float, ridge: float, rounding: float) -> tuple[Array, Array]:
    """Coefficients (parts, K) of weighted ridge regression, and the share of scatter explained (K,)."""
    norms = np.sqrt(choices.sum(axis=1) * choices.shape[1])
    distance = 1 - choices.sum(axis=1) / np.where(norms > 0, norms, 1)
    weights = np.exp(-(distance**2) / kernel_width**2)[:, None]
    total = weights.sum()
    centred = choices - (weights * choices).sum(axis=0) / total
    wanted = scores - (weights * scores).sum(axis=0) / total
    wanted = np.where(np.abs(wanted).max(axis=0) > rounding * np.abs(scores).max(axis=0), wanted, 0.0)
    system = centred.T @ (weights * centred) + ridge * np.eye(choices.shape[1])
    coefficients = np.linalg.solve(system, centred.T @ (weights * wanted))
    left = (weights * (wanted - centred @ coefficients) ** 2).sum(axis=0)
    scatter = (weights * wanted**2).sum(axis=0)
    return coefficients, 1 - left / np.where(scatter > 0, scatter, 1)


def _check_settings(samples: int, kernel_width: float, ridge: float) -> None:
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 2:
        raise SettingError(f"samples is a number of choices, at least 2, got {samples!r}")
    if not (0 < kernel_width < np.inf):
        raise SettingError(f"kernel_width is above 0, got {kernel_width!r}")
    if not (0 < ridge < np.inf):
        raise SettingError(f"ridge is above 0, got {ridge!r}")
