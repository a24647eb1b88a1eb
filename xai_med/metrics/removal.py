"""How the score falls while the pixels of a map are taken away, and rises while they come in.

Both leave the images that the model knows: a low deletion curve may come of the fill as well as of the map. Compare
maps of one image, under one fill, with a random order beside them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError
from xai_med.metrics.answer import Answer, ask, image_and_map
from xai_med.metrics.fill import Fill, filling, unchanged_pixels
from xai_med.metrics.frozen import freeze
from xai_med.metrics.order import pixel_order
from xai_med.metrics.settings import whole_number


@dataclass(frozen=True, eq=False)
class Curve:
    """Scores while more and more pixels are removed or inserted, from none to all.

    Parameters
    ----------
    kind : "deletion" or "insertion"
    fractions : ndarray of shape (n + 1,), float64
        Of the pixels, from 0 to 1; read-only.
    scores : ndarray of shape (n + 1,), float64
        Read-only.
    fill : str
        What removed pixels were replaced by.
    tied : int
        How many pixels of the map share their value with another one; their order is that of the rows.
    unchanged : int
        How many pixels equal their fill, so that removing them changes nothing.
    """

    kind: Literal["deletion", "insertion"]
    fractions: Array
    scores: Array
    fill: str
    tied: int = 0
    unchanged: int = 0

    def __post_init__(self) -> None:
        freeze(self, "fractions", "scores")

    @property
    def area(self) -> float:
        """Under the curve, by trapezoids: the mean score; ``(sum s - s_0 / 2 - s_n / 2) / n`` for equal steps."""
        return float((np.diff(self.fractions) * (self.scores[1:] + self.scores[:-1])).sum() / 2)


def deletion(
    answer: Answer,
    image: ArrayLike,
    saliency: ArrayLike,
    *,
    steps: int = 50,
    fill: Fill = "zero",
    batch_size: int = 32,
) -> Curve:
    """Score the image while its most salient pixels are taken away first; a small area is good.

    Parameters
    ----------
    answer : Answer
        The paper takes the softmax probability of the class that was predicted for the whole image.
    image : array-like of shape (C, *space)
        In the range that the model was trained on.
    saliency : array-like of shape (*space)
        Signed; larger goes earlier. Among equals the first in row-major order goes first, see `Curve.tied`.
    steps : int
        How often the model is asked after the first time; pixels are shared evenly among the steps.
    fill : Fill
        What stands in for a removed pixel, in all channels. Zero is the mean grey of normalised images only.
    batch_size : int
        Most images in one call of `answer`.

    Raises
    ------
    SettingError
        More steps than pixels, a constant map, or a fill that equals the image.
    ShapeError, DtypeError, NonFiniteError
        Of the image, the map or an answer.

    References
    ----------
    Petsiuk et al. 2018 (RISE), arXiv:1806.07421 (causal metrics); the released code takes as many pixels per step as
    the image is wide, which is ``steps=224`` for 224 x 224.
    """
    return _curve("deletion", answer, image, saliency, steps, fill, batch_size)


def insertion(
    answer: Answer,
    image: ArrayLike,
    saliency: ArrayLike,
    *,
    steps: int = 50,
    fill: Fill = "blur",
    batch_size: int = 32,
) -> Curve:
    """Score the fill while the image's most salient pixels come in first; a large area is good.

    Parameters, errors and source as in `deletion`; it starts from a blurred image, as the paper does, because shapes
    that are cut into an even plane are evidence of their own.

    References
    ----------
    Petsiuk et al. 2018 (RISE), arXiv:1806.07421 (causal metrics).
    """
    return _curve("insertion", answer, image, saliency, steps, fill, batch_size)


def _curve(
    kind: Literal["deletion", "insertion"],
    answer: Answer,
    image: ArrayLike,
    saliency: ArrayLike,
    steps: int,
    fill: Fill,
    batch_size: int,
) -> Curve:
    pixels, values = image_and_map(image, saliency)
    count = whole_number(steps, "steps", least=1)
    if count > values.size:
        raise SettingError(f"{count} steps were asked for, the map has {values.size} pixels; use at most as many steps")
    order, filled = pixel_order(values), filling(pixels, fill)
    ends = np.arange(count + 1) * values.size // count
    before, after = (pixels, filled.values) if kind == "deletion" else (filled.values, pixels)
    scores = ask(answer, _changed(before, after, order.pixels, ends), batch_size=batch_size)
    return Curve(kind, ends / values.size, scores, filled.name, order.tied, unchanged_pixels(pixels, filled))


def _changed(before: Array, after: Array, order: Array, ends: Array) -> Iterator[Array]:
    """Images whose first pixels in order are already those of `after`."""
    rank = np.empty(order.size, dtype=np.intp)
    rank[order] = np.arange(order.size)
    places = rank.reshape(before.shape[1:])
    for end in ends:
        yield np.where(places < end, after, before)
