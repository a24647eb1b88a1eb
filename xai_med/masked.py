"""Scores of images whose pixels are replaced under masks: what occlusion, RISE, LIME and Shapley values ask."""

from collections.abc import Iterable, Iterator

import numpy as np

from xai_med.answers import Answers
from xai_med.backend.tensors import Array
from xai_med.progress import with_progress


def masked_scores(
    answers: Answers, replacement: Array, masks: Iterable[Array], *, total: int, what: str, progress: bool
) -> Iterator[Array]:
    """Scores (N, K) of the images under each mask, in order.

    Parameters
    ----------
    answers : Answers
        Of the model.
    replacement : ndarray of shape (N, C, *space)
        What takes the place of pixels.
    masks : iterable of ndarray of shape (*space) or (N, *space), from 0 to 1
        1 keeps a pixel as it is, 0 replaces it, exactly; between, they are mixed.
    total : int
        Number of masks, for the progress bar.
    what : str
        Name of the method, for the bar.
    progress : bool
        Show it.
    """
    images = answers.images

    def copies() -> Iterator[Array]:
        for mask in masks:
            kept = np.broadcast_to(mask, (len(images), *images.shape[2:]))[:, None]
            yield (images * kept + replacement * (1 - kept)).astype(images.dtype)

    yield from with_progress(answers.of(copies()), total=total, what=what, shown=progress)
