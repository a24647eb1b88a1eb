"""Occludes random halves of a layer's cells: where a score is linear in the cells, it falls by exactly their share."""

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.checks import Check
from xai_med.errors import IdentityError
from xai_med.verification.differences import Objective
from xai_med.verification.directions import SEED

_MASKS = 4


def occlusion_check(shares: Array, occluded: Objective, scores: Array, tolerance: float, *, key: str) -> Check:
    """Compare what cells are claimed to add to a score with what the score loses without them.

    Parameters
    ----------
    shares : ndarray of shape (N, K, *cells), float64
        What each cell is claimed to add to each score.
    occluded : callable
        The scores (N, K) without the cells of a mask (N, *cells) of zeros and ones.
    scores : ndarray of shape (N, K)
        With all cells.
    tolerance : float
        Relative to the sizes of what is added up.
    key : str
        Of the check.

    Raises
    ------
    IdentityError
        The score falls by something else.
    """
    generator = np.random.default_rng(SEED)
    size = np.abs(shares).reshape(*scores.shape, -1).sum(axis=2) + np.abs(scores)
    worst = 0.0
    for _ in range(_MASKS):
        mask = generator.integers(0, 2, size=(shares.shape[0], *shares.shape[2:])).astype(np.float64)
        claimed = (shares * mask[:, None]).reshape(*scores.shape, -1).sum(axis=2)
        deviation = np.abs(scores - occluded(mask) - claimed) / np.maximum(size, np.finfo(np.float64).tiny)
        worst = max(worst, float(deviation.max()))
    check = Check(
        "score lost where half of the cells are occluded, against their share in the map",
        worst,
        tolerance,
        note=f"{_MASKS} masks, seed {SEED}",
        key=key,
    )
    if not check.passed:
        raise IdentityError(
            f"the map is not what its cells add to the score ({check}); do not use this map: report it, with the model"
        )
    return check
