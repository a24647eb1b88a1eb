"""RISE: random masks, weighed by the scores of the images that they leave."""

from collections.abc import Iterator

import numpy as np

from xai_med.answers import answers
from xai_med.backend.tensors import Array, precision
from xai_med.baselines import Baseline, baseline_images
from xai_med.errors import SettingError
from xai_med.maps.resize import resize
from xai_med.masked import masked_scores
from xai_med.moments import Moments
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.verification import verify_again


@register_method(
    "rise",
    source="Petsiuk, Das, Saenko 2018, arXiv:1806.07421, equation 6",
    cost="one forward pass per mask: 4,000 by default",
    needs="answers only",
    properties=("linear_in_target",),
    verification=verify_again("rise"),
    only_asks=True,
)
def rise(
    request: Request,
    *,
    masks: int = 4000,
    cells: int = 7,
    probability: float = 0.5,
    centred: bool = True,
    seed: int = 0,
    baseline: Baseline = 0.0,
    batch_size: int | None = None,
    progress: bool = False,
) -> Attribution:
    """Average random masks with the scores that the images under them get.

    Parameters
    ----------
    request : Request
        What to explain. The authors weigh by probabilities: ``target=Probability(...)``.
    masks : int
        Of each image; the same for every image of a batch. The standard error is among the checks.
    cells : int
        Of the coarse grid along each space axis; enlarged linearly and shifted at random.
    probability : float
        That a cell is kept.
    centred : bool
        Subtract the mean score first, so that a pixel without influence tends to zero whatever the score. False is
        the published estimator, whose maps carry the mean score everywhere.
    seed : int
        Of the masks.
    baseline : number, str or array
        What is mixed in where a mask hides (see `xai_med.baselines.baseline_images`); black as published is the
        number that black has after normalisation.
    batch_size : int or None
        Most images in one forward pass; None: 32, and 1 for models whose operations cannot be seen, which may mix the
        images of a batch without anybody noticing.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Attribution
        `values` and `maps` (N, K, *space), in units of the score.

    Raises
    ------
    SettingError
        A setting is out of its range.
    """
    request.without_layer("rise")
    _check_settings(masks, cells, probability, request.space)
    asked = answers(request, batch_size=batch_size)
    replacement = baseline_images(asked.images, baseline)
    drawn = _masks(request.space, masks, cells, probability, seed)
    scores = list(masked_scores(asked, replacement, drawn, total=masks, what="rise", progress=progress))
    middle = np.mean(scores, axis=0) if centred else 0.0
    rounding = 64 * precision(request.network.tensors.dtype(request.batch)) * np.abs(scores).max(axis=0)
    moments = Moments()
    ones = (1,) * len(request.space)
    for mask, score in zip(_masks(request.space, masks, cells, probability, seed), scores, strict=True):
        weight = np.where(np.abs(score - middle) > rounding, score - middle, 0.0)  # else the picture is of rounding
        moments.add(weight.reshape(*weight.shape, *ones) * mask / probability)
    values = request.network.tensors.from_numpy(moments.mean, request.batch)
    return Attribution(values, values, asked.explained, checks=(moments.standard_error(np.asarray),))


def _masks(space: tuple[int, ...], masks: int, cells: int, probability: float, seed: int) -> Iterator[Array]:
    """Coarse grids of kept cells, enlarged by one cell more than the image and cut out at a random place."""
    generator = np.random.default_rng(seed)
    sizes = [-(-size // cells) for size in space]
    for _ in range(masks):
        coarse = (generator.random((cells + 1,) * len(space)) < probability).astype(np.float64)
        fine = resize(coarse, [(cells + 1) * size for size in sizes])
        shifts = [int(generator.integers(0, size)) for size in sizes]
        yield fine[tuple(slice(shift, shift + size) for shift, size in zip(shifts, space, strict=True))]


def _check_settings(masks: int, cells: int, probability: float, space: tuple[int, ...]) -> None:
    if isinstance(masks, bool) or not isinstance(masks, int) or masks < 2:
        raise SettingError(f"masks is a number of at least 2, got {masks!r}")
    if isinstance(cells, bool) or not isinstance(cells, int) or not 1 <= cells <= min(space):
        raise SettingError(f"cells is a number from 1 to the image's smallest size, {min(space)}, got {cells!r}")
    if not 0 < probability < 1:
        raise SettingError(f"probability is between 0 and 1, got {probability!r}")
