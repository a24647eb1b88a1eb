"""Probabilities of the explained classes, where it is known how the model turns logits into them."""

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.request import Attribution


def probabilities(attribution: Attribution) -> Array | None:
    """Probability of each explained class, where the score is one class and the activation is known.

    Parameters
    ----------
    attribution : Attribution
        Of any method.

    Returns
    -------
    ndarray of shape (N, K), float64, or None
        None where the activation is not known, NaN where a score is not one class.
    """
    explained = attribution.explained
    if explained.activation is None or explained.selection.coefficients is None:
        return None
    scores, indices = explained.selection.scores, explained.selection.indices
    logits = explained.all_logits
    if explained.activation == "sigmoid":
        values = 1 / (1 + np.exp(-np.clip(scores, -700, 700)))
        is_class = (np.abs(explained.selection.coefficients).sum(axis=2) == 1) & (
            (indices >= 0) | (logits.shape[1] == 1)
        )
    else:
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        values = np.take_along_axis(shifted / shifted.sum(axis=1, keepdims=True), np.maximum(indices, 0), axis=1)
        is_class = indices >= 0
    return np.where(is_class, values, np.nan)
