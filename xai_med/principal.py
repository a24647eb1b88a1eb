"""The strongest pattern in a layer's features: their projection on the first singular vector, with a defined sign."""

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import LayerError

_GAP = 1e-6
"""Relative to the largest singular value: below it the first direction is any mixture of two, and its map noise."""


def principal_map(features: Array, *, centred: bool, like: Array) -> Array:
    """Project each place's features on the direction that holds most of their square.

    Parameters
    ----------
    features : ndarray of shape (C, *layer space)
        Of one image.
    centred : bool
        Subtract each channel's mean over places first.
    like : ndarray of shape (*layer space)
        A singular vector has no sign; the one is taken under which the map goes along with this.

    Returns
    -------
    ndarray of shape (*layer space), float64

    Raises
    ------
    LayerError
        Two directions are equally strong, or neither sign goes along with `like`.
    """
    matrix = features.reshape(len(features), -1).T.astype(np.float64)
    if centred:
        matrix = matrix - matrix.mean(axis=0)
    _, strengths, directions = np.linalg.svd(matrix, full_matrices=False)
    if strengths[0] <= _GAP * max(np.abs(features).max(), np.finfo(np.float64).tiny):
        return np.zeros(features.shape[1:])
    if len(strengths) > 1 and strengths[0] - strengths[1] <= _GAP * strengths[0]:
        raise LayerError(
            "two patterns in the features are equally strong, so that there is no first one; choose another layer"
        )
    found = matrix @ directions[0]
    wanted = like.ravel().astype(np.float64)
    wanted = wanted - wanted.mean() if centred else wanted
    agreement = float(found @ wanted)
    if abs(agreement) <= _GAP * np.linalg.norm(found) * np.linalg.norm(wanted):
        raise LayerError("the sign of the strongest pattern is not determined; use method='hires_cam'")
    return np.asarray(np.sign(agreement) * found).reshape(features.shape[1:])
