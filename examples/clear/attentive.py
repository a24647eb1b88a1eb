"""The region that speaks most for the predicted class, boxed as CLEAR-DR does, and whether a lesion is in it."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from xai_med import Explanation
from xai_med.backend.tensors import Array
from xai_med.metrics import Box, Estimate, box_from_map, mask_from_map, mean_with_interval

_PLACES = 300


def most_attentive(found: Explanation, image: int, *, of: int | None = None) -> Box | None:
    """Box around the part that speaks most for a class, the predicted one if none is named; None if no place does.

    It is connected, holds the largest response, and reaches a fifth of it everywhere (our rule; theirs is not stated).
    """
    wanted = int(found.scores[image].argmax()) if of is None else of
    response = np.asarray(found.extras["dominant_response"][image])
    own = np.where(np.asarray(found.extras["dominant_class"][image]) == wanted, response, 0)
    parts, _ = ndimage.label(mask_from_map(own, "cam"), structure=np.ones((3, 3)))
    chosen = parts == parts.ravel()[own.argmax()]
    return box_from_map(chosen.astype(np.float64), "cam") if own.any() else None


@dataclass(frozen=True)
class Hits:
    """How often a box holds a part of a lesion.

    Parameters
    ----------
    boxed : Estimate
        Of the boxes.
    chance : float
        Of boxes of the same sizes whose middles lie anywhere where lesions may be.
    """

    boxed: Estimate
    chance: float

    def __str__(self) -> str:
        """As ``0.88 (0.83 to 0.93; 160 images), by chance 0.31``."""
        return f"{self.boxed}, by chance {self.chance:.2f}"


def boxes_with_lesions(found: Explanation, masks: Array, allowed: Array) -> Hits:
    """Compare boxes with lesions, in images that have one and in which some place speaks for the predicted class.

    Parameters
    ----------
    found : Explanation
        By CLEAR, of N images.
    masks : ndarray of shape (N, H, W), bool
        Lesions.
    allowed : ndarray of shape (H, W), bool
        Where lesions may be.
    """
    random = np.random.default_rng(0)
    middles = np.argwhere(allowed)
    hits, chance = [], []
    for number in np.flatnonzero(masks.any(axis=(1, 2))):
        box = most_attentive(found, int(number))
        if box is None:
            continue
        size = np.array((int(box.height), int(box.width)))
        hits.append(float(_holds(masks[number], np.array((int(box.y), int(box.x))), size)))
        corners = middles[random.integers(len(middles), size=_PLACES)] - size // 2
        corners = np.clip(corners, 0, np.array(masks.shape[1:]) - size)
        chance.append(np.mean([_holds(masks[number], corner, size) for corner in corners]))
    return Hits(mean_with_interval(hits), float(np.mean(chance)))


def _holds(mask: Array, corner: Array, size: Array) -> bool:
    return bool(mask[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]].any())
