"""Remove and debias (ROAD): the score while pixels are taken away and imputed from those that stay."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError
from xai_med.metrics.answer import Answer, ask, image_and_map
from xai_med.metrics.frozen import freeze
from xai_med.metrics.imputation import linear_imputation
from xai_med.metrics.order import pixel_order
from xai_med.metrics.settings import amount, one_of, whole_number

Order = Literal["morf", "lerf"]


@dataclass(frozen=True, eq=False)
class Road:
    """Scores of one image while parts of it are imputed.

    Parameters
    ----------
    order : "morf" or "lerf"
        Most, or least, relevant pixels first.
    fractions : ndarray of shape (n,), float64
        Of the pixels that were removed, as asked for; read-only.
    scores : ndarray of shape (n,), float64
        Read-only.
    score : float
        Of the whole image.
    noise : float
        Standard deviation, in units of the image.
    seed : int
    tied : int
        How many pixels of the map share their value with another one; their order is that of the rows.
    """

    order: Order
    fractions: Array
    scores: Array
    score: float
    noise: float
    seed: int
    tied: int

    def __post_init__(self) -> None:
        freeze(self, "fractions", "scores")

    @property
    def mean_drop(self) -> float:
        """Mean over fractions of how far the score fell: large is good for ``"morf"``, small for ``"lerf"``."""
        return float((self.score - self.scores).mean())


def road(
    answer: Answer,
    image: ArrayLike,
    saliency: ArrayLike,
    *,
    fractions: Sequence[float] = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9),
    noise: float = 0.01,
    seed: int = 0,
    order: Order = "morf",
    batch_size: int = 32,
) -> Road:
    """Score the image after its most (or least) salient pixels were imputed from their neighbours.

    Parameters
    ----------
    answer : Answer
        The paper counts right predictions: 1 where the class is predicted, else 0. A score tells more of one image.
    image : array-like of shape (C, *space)
    saliency : array-like of shape (*space)
        Signed. Among equals the first in row-major order goes first, see `Road.tied`.
    fractions : sequence of float
        Of the pixels that are removed, between 0 and 1; rounded to whole pixels.
    noise : float
        Standard deviation of the normal noise on imputed pixels, in units of the image: 0.01 is meant for images
        from 0 to 1 or of unit spread. A pixel gets the same noise at every fraction.
    seed : int
    order : "morf" or "lerf"
        Most, or least, relevant pixels first.
    batch_size : int
        Most images in one call of `answer`.

    Raises
    ------
    SettingError
        A setting is out of its range, a fraction removes no pixel or all of them, or the map is constant.
    ShapeError, DtypeError, NonFiniteError
        Of the image, the map or an answer.

    References
    ----------
    Rong et al. 2022, arXiv:2202.00449; see `linear_imputation` for what is ours.
    """
    pixels, values = image_and_map(image, saliency)
    one_of(order, "order", get_args(Order))
    counts = _counts(fractions, values.size)
    spread = amount(noise, "noise", least=0)
    ordered = pixel_order(values, largest_first=order == "morf")
    added = spread * np.random.default_rng(whole_number(seed, "seed", least=0)).standard_normal(pixels.shape)
    scores = ask(answer, _imputed(pixels, ordered.pixels, counts, added), batch_size=batch_size)
    return Road(
        order, np.asarray(fractions, dtype=np.float64), scores[1:], float(scores[0]), spread, seed, ordered.tied
    )


def _imputed(pixels: Array, order: Array, counts: Sequence[int], noise: Array) -> Iterator[Array]:
    """The image itself, then one imputed image for each count."""
    yield pixels
    for count in counts:
        missing = np.zeros(order.size, dtype=bool)
        missing[order[:count]] = True
        mask = missing.reshape(pixels.shape[1:])
        yield np.where(mask, linear_imputation(pixels, mask) + noise, pixels).astype(pixels.dtype)


def _counts(fractions: Sequence[float], size: int) -> list[int]:
    if not len(fractions):
        raise SettingError("road needs at least one fraction of pixels to remove")
    counts = [round(amount(fraction, "a fraction", above=0) * size) for fraction in fractions]
    for fraction, count in zip(fractions, counts, strict=True):
        if not 0 < count < size:
            raise SettingError(
                f"fraction {fraction:g} removes {count} of {size} pixels; at least one must go and one must stay "
                "(fractions lie between 0 and 1: 0.1, not 10)"
            )
    return counts
