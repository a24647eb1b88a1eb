"""Phantoms with a consolidation or without, and a bright tag that goes with it in training and not in the test."""

from dataclasses import dataclass

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.demo.phantoms import FINDINGS, phantoms
from xai_med.gaze import Fixations, heat_map

SIZE = 64
FINDING = FINDINGS.index("consolidation")
TAG = 7  # pixels along a side
SIGMA_PX = 5.0  # about one degree where a radiograph of 43 cm is read at 65 cm


@dataclass(frozen=True, eq=False)
class Cases:
    """Radiographs with labels, places and gaze.

    Parameters
    ----------
    images : ndarray of shape (N, 1, SIZE, SIZE), float32
    labels : ndarray of shape (N,), float32
        Whether there is a consolidation.
    masks : ndarray of shape (N, SIZE, SIZE), bool
        Where it is.
    is_tagged : ndarray of shape (N,), bool
    gaze : ndarray of shape (N, SIZE, SIZE), float32
        Heat maps of simulated gaze, their largest value 1; zero where nobody looked.
    has_gaze : ndarray of shape (N,), bool
    """

    images: Array
    labels: Array
    masks: Array
    is_tagged: Array
    gaze: Array
    has_gaze: Array


def draw(count: int, *, seed: int, agreement: float, gaze_share: float = 1.0) -> Cases:
    """Draw phantoms.

    Parameters
    ----------
    count, seed : int
    agreement : float
        How often the tag agrees with the label: 1 always, 0.5 by chance.
    gaze_share : float
        Of the images with a consolidation, how many somebody looked at.
    """
    random = np.random.default_rng(seed)
    drawn = phantoms(count, seed=seed, prevalence=0.5, size=SIZE)
    labels, masks = drawn.labels[:, FINDING], drawn.masks[:, FINDING]
    is_tagged = np.where(random.random(count) < agreement, labels, ~labels)
    images = np.array(drawn.images)
    images[is_tagged, :, -TAG - 2 : -2, 2 : TAG + 2] = 1.0
    has_gaze = labels & (random.random(count) < gaze_share)
    gaze = np.zeros((count, SIZE, SIZE), np.float32)
    for number in np.flatnonzero(has_gaze):
        gaze[number] = heat_map(_looked_at(masks[number], random), (SIZE, SIZE), sigma_px=SIGMA_PX, scale="max")
    return Cases(images, labels.astype(np.float32), masks, is_tagged, gaze, has_gaze)


def _looked_at(mask: Array, random: np.random.Generator) -> Fixations:
    """Some seconds of gaze: mostly on the finding, a few fixations elsewhere in the image."""
    cells = np.argwhere(mask)[random.integers(int(mask.sum()), size=8)]
    strays = random.uniform(0.2 * SIZE, 0.8 * SIZE, size=(2, 2))
    rows, columns = np.concatenate([cells + random.normal(0.5, 1.5, size=cells.shape), strays]).T
    durations = np.concatenate([random.gamma(4, 0.1, size=8), random.gamma(4, 0.03, size=2)]) + 0.05
    return Fixations(columns, rows, durations)
