"""The scores that were explained, asked for again of other images: whatever these would make the predicted class."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.request import Explained, Request
from xai_med.selection import Context, Selection, linear
from xai_med.softmax import SoftmaxOf
from xai_med.targets import Target


@dataclass(frozen=True, eq=False)
class SameScores:
    """The very scores that were explained, by their weights of the logits.

    Parameters
    ----------
    coefficients : ndarray of shape (N, K, C)
    labels, indices
        As in `Selection`.
    """

    coefficients: Array
    labels: tuple[tuple[str, ...], ...]
    indices: Array

    def select(self, context: Context) -> Selection:
        """Select by coefficients."""
        return linear(context, self.coefficients, self.labels, self.indices)

    def of_images(self, start: int, stop: int) -> "SameScores":
        """Of some of the images."""
        chosen = slice(start, stop)
        return SameScores(self.coefficients[chosen], self.labels[chosen], self.indices[chosen])

    def repeated(self, times: int) -> "SameScores":
        """Of all images again and again: the first `N` rows, and the same once more for each further time."""
        return SameScores(
            np.tile(self.coefficients, (times, 1, 1)), self.labels * times, np.tile(self.indices, (times, 1))
        )


def joined_scores(several: Sequence[SameScores]) -> SameScores:
    """Of several batches, as of one."""
    return SameScores(
        np.concatenate([each.coefficients for each in several]),
        tuple(row for each in several for row in each.labels),
        np.concatenate([each.indices for each in several]),
    )


def of_same_scores(request: Request, explained: Explained) -> Request:
    """Ask for the scores that were explained, whatever other images or weights would make the predicted class."""
    selection = explained.selection
    if isinstance(request.target, SoftmaxOf):
        return replace(request, target=request.target.of_clean(explained.all_logits))
    if selection.coefficients is None:
        return request
    target: Target = SameScores(selection.coefficients, selection.labels, selection.indices)
    return replace(request, target=target)
