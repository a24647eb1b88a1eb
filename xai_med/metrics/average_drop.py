"""What the score loses when only what the map shows is left of the image."""

from dataclasses import dataclass

from numpy.typing import ArrayLike

from xai_med.errors import SettingError
from xai_med.metrics.answer import Answer, ask, image_and_map


@dataclass(frozen=True)
class ConfidenceDrop:
    """Scores of one image and of the image under its map.

    Parameters
    ----------
    score : float
        Of the image, above 0.
    masked_score : float
        Of the image times its map.
    """

    score: float
    masked_score: float

    @property
    def drop(self) -> float:
        """Share of the score that is lost, 0 where it rises; the mean over images, in %, is the average drop."""
        return max(0.0, self.score - self.masked_score) / self.score

    @property
    def is_increase(self) -> bool:
        """Whether the score rises; the share of images, in %, is the increase in confidence."""
        return self.masked_score > self.score


def confidence_drop(answer: Answer, image: ArrayLike, saliency: ArrayLike) -> ConfidenceDrop:
    """Score the image and the image times its map, pixel by pixel and all channels alike.

    Average over images with `mean_with_interval`, which gives an interval beside the mean.

    Parameters
    ----------
    answer : Answer
        The paper takes the softmax probability of the class. Other scores have no zero to be a share of: a logit's
        drop depends on where its zero happens to lie.
    image : array-like of shape (C, *space)
        What a map of zeros leaves is zero: the mean grey of normalised images.
    saliency : array-like of shape (*space)
        Between 0 and 1; scale it by `xai_med.maps.normalise`: `min_max` in the paper.

    Raises
    ------
    SettingError
        The score of the image is not above zero, or the map leaves 0 to 1.
    ShapeError, DtypeError, NonFiniteError
        Of the image, the map or an answer.

    References
    ----------
    Chattopadhyay et al. 2018 (Grad-CAM++), arXiv:1710.11063 (average drop and increase in confidence).
    """
    pixels, values = image_and_map(image, saliency)
    if values.min() < 0 or values.max() > 1:
        raise SettingError(
            f"the map runs from {values.min():g} to {values.max():g} and must lie between 0 and 1; scale it by "
            "xai_med.maps.normalise, such as min_max"
        )
    scores = ask(answer, [pixels, (pixels * values).astype(pixels.dtype)])
    if scores[0] <= 0:
        raise SettingError(
            f"the image's own score is {scores[0]:g}: no share of it can be lost; ask for a probability, which is "
            "above zero"
        )
    return ConfidenceDrop(float(scores[0]), float(scores[1]))
