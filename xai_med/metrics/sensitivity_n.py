"""Whether the attribution of several pixels together says how much the score falls without them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError
from xai_med.metrics.answer import Answer, ask, image_and_map, rounding
from xai_med.metrics.fill import Fill, filling
from xai_med.metrics.frozen import freeze
from xai_med.metrics.settings import whole_number


@dataclass(frozen=True, eq=False)
class SensitivityN:
    """Attributions of random sets of pixels beside what the score loses without each set.

    Parameters
    ----------
    n : int
        Pixels in a set.
    sums : ndarray of shape (S,), float64
        Of the attribution in each set; read-only.
    drops : ndarray of shape (S,), float64
        Score of the image less that of the image without the set; read-only.
    correlation : float
        Pearson's; NaN where all sums or all drops are equal up to rounding.
    fill : str
        What removed pixels were replaced by.
    seed : int
    """

    n: int
    sums: Array
    drops: Array
    correlation: float
    fill: str
    seed: int

    def __post_init__(self) -> None:
        freeze(self, "sums", "drops")


def sensitivity_n(
    answer: Answer,
    image: ArrayLike,
    attribution: ArrayLike,
    *,
    n: int,
    subsets: int = 100,
    seed: int = 0,
    fill: Fill = "zero",
    batch_size: int = 32,
) -> SensitivityN:
    """Correlate the attribution of random sets of n pixels with what the score loses without them.

    Parameters
    ----------
    answer : Answer
        The score that was attributed: the logit for most methods.
    image : array-like of shape (C, *space)
    attribution : array-like of shape (*space)
        Share of each pixel in the score, summed over channels: gradient times input, LRP, integrated gradients. A
        gradient alone says how the score changes per unit, and is not meant.
    n : int
        Pixels in a set, below their number in the image; try several, spaced logarithmically as in the paper.
    subsets : int
        Random sets, at least 3, drawn independently.
    seed : int
    fill : Fill
        What stands in for a removed pixel, in all channels; zero in the paper.
    batch_size : int
        Most images in one call of `answer`.

    Raises
    ------
    SettingError
        A setting is out of its range, or the fill equals the image.
    ShapeError, DtypeError, NonFiniteError
        Of the image, the map or an answer.

    References
    ----------
    Ancona et al. 2018, arXiv:1711.06104 (sensitivity-n).
    """
    pixels, values = image_and_map(image, attribution, "the attribution")
    size, count = whole_number(n, "n", least=1), whole_number(subsets, "subsets", least=3)
    if size >= values.size:
        raise SettingError(f"n is {size}, the image has {values.size} pixels; fewer must be removed, or no set differs")
    filled = filling(pixels, fill)
    random = np.random.default_rng(whole_number(seed, "seed", least=0))
    chosen = [random.choice(values.size, size=size, replace=False) for _ in range(count)]
    scores = ask(answer, _without(pixels, filled.values, chosen), batch_size=batch_size)
    drops = scores[0] - scores[1:]
    sums = np.array([values.ravel()[each].sum() for each in chosen])
    correlation = _pearson(sums, drops, 8 * np.finfo(np.float64).eps * np.abs(values).sum(), rounding(scores))
    return SensitivityN(size, sums, drops, correlation, filled.name, seed)


def _without(pixels: Array, filled: Array, chosen: list[Array]) -> Iterator[Array]:
    """The image itself, then the image without each set."""
    yield pixels
    for each in chosen:
        missing = np.zeros(pixels[0].size, dtype=bool)
        missing[each] = True
        yield np.where(missing.reshape(pixels.shape[1:]), filled, pixels)


def _pearson(sums: Array, drops: Array, rounding_of_sums: float, rounding_of_drops: float) -> float:
    if np.ptp(sums) <= rounding_of_sums or np.ptp(drops) <= rounding_of_drops:
        return math.nan
    return float(np.corrcoef(sums, drops)[0, 1])
