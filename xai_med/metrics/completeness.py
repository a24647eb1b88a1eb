"""Whether an attribution hands out exactly the score, less that of a baseline."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from xai_med.errors import ShapeError
from xai_med.maps.finite import finite_floats
from xai_med.metrics.answer import Answer, ask, one_image, rounding
from xai_med.metrics.fill import Fill, filling


@dataclass(frozen=True)
class Completeness:
    """The sum of an attribution beside the difference that it should make up; all in units of the score.

    Parameters
    ----------
    attributed : float
        Sum of the attribution.
    difference : float
        Score of the image less that of the baseline.
    baseline : str
        What the image was compared with.
    resolution : float
        A difference up to this may be rounding.
    """

    attributed: float
    difference: float
    baseline: str
    resolution: float = 0.0

    @property
    def gap(self) -> float:
        """Attributed too much, or, below zero, too little."""
        return self.attributed - self.difference

    @property
    def relative_gap(self) -> float:
        """Magnitude of the gap as a share of the difference; NaN where the difference is but rounding."""
        return abs(self.gap) / abs(self.difference) if abs(self.difference) > self.resolution else math.nan


def completeness(answer: Answer, image: ArrayLike, attribution: ArrayLike, *, baseline: Fill = "zero") -> Completeness:
    """Compare the sum of an attribution with the score's difference from a baseline.

    Parameters
    ----------
    answer : Answer
        The score that was attributed: the logit for most methods.
    image : array-like of shape (C, *space)
    attribution : array-like of shape (*space) or (C, *space)
        Raw: neither scaled, nor enlarged, nor cut at zero.
    baseline : Fill
        An image without anything in it: that of integrated gradients; zero for gradient times input and LRP, which
        are complete only for networks without biases.

    Raises
    ------
    SettingError
        The baseline equals the image.
    ShapeError, DtypeError, NonFiniteError
        Of the image, the attribution or an answer.

    References
    ----------
    Sundararajan et al. 2017, arXiv:1703.01365, proposition 1.
    """
    pixels, values = one_image(image), finite_floats(attribution, "the attribution").astype(np.float64)
    if values.shape not in (pixels.shape, pixels.shape[1:]):
        raise ShapeError(f"the attribution is {values.shape} and the image (C, *space) {pixels.shape}")
    empty = filling(pixels, baseline)
    scores = ask(answer, [pixels, empty.values])
    return Completeness(float(values.sum()), float(scores[0] - scores[1]), empty.name, rounding(scores))
