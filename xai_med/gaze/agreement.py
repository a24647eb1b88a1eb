"""How well a map agrees with where somebody looked.

Agreement with a radiologist's gaze says that a map is plausible; it says nothing of what the model used.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from xai_med.backend.tensors import Array
from xai_med.errors import GazeError, SettingError, ShapeError
from xai_med.gaze.fixations import Fixations
from xai_med.maps.finite import finite_floats


def correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Pearson correlation (CC) over all pixels; NaN where a map is constant."""
    a, b = _pair(first, second)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def similarity(first: ArrayLike, second: ArrayLike) -> float:
    """Common part of two maps that sum to 1 (SIM, histogram intersection); NaN where one is zero everywhere.

    Raises
    ------
    SettingError
        A map holds negative values.
    """
    a, b = (_as_distribution(each) for each in _pair(first, second))
    return float(np.minimum(a, b).sum())


def kl_divergence(gaze: ArrayLike, predicted: ArrayLike, *, epsilon: float = 0.0) -> float:
    """``sum G log(G / P)`` in nats, both summing to 1: what is lost when the map stands for the gaze.

    Infinite where the map is zero and the gaze is not, unless `epsilon` is added to the map before it is normalised.

    Raises
    ------
    SettingError
        A map holds negative values.
    """
    g, p = _pair(gaze, predicted)
    g, p = _as_distribution(g), _as_distribution(p + epsilon)
    if np.isnan(g).any() or np.isnan(p).any():
        return math.nan
    known = g > 0
    with np.errstate(divide="ignore"):
        return float((g[known] * (np.log(g[known]) - np.log(p[known]))).sum())


def scan_path_saliency(predicted: ArrayLike, fixations: Fixations) -> float:
    """Mean of the standardised map at fixations (NSS); NaN where the map is constant.

    References
    ----------
    Peters et al. 2005, doi:10.1016/j.visres.2005.03.019.
    """
    values = _map(predicted)
    if np.ptp(values) == 0:
        return math.nan
    return float(((values - values.mean()) / values.std())[_cells(fixations, values.shape)].mean())


def gaze_auc(predicted: ArrayLike, fixations: Fixations) -> float:
    """Probability that the map is larger at a fixated pixel than at another one, ties counting half (AUC of Judd)."""
    values = _map(predicted)
    is_hit = np.zeros(values.shape, dtype=bool)
    is_hit[_cells(fixations, values.shape)] = True
    if is_hit.all():
        raise GazeError("every pixel was fixated; there is none to compare with")
    return _auc(values[is_hit], values[~is_hit])


def shuffled_auc(predicted: ArrayLike, fixations: Fixations, others: Fixations) -> float:
    """The same against pixels fixated on other images, which takes away what comes of looking at the middle.

    Parameters
    ----------
    predicted : array-like of shape (H, W)
    fixations : Fixations
        On this image.
    others : Fixations
        On other images, in pixels of this one's size.

    References
    ----------
    Tatler et al. 2005, doi:10.1016/j.visres.2004.09.017.
    """
    values = _map(predicted)
    return _auc(values[_cells(fixations, values.shape)], values[_cells(others, values.shape)])


def overlap(predicted: ArrayLike, gaze: ArrayLike, *, share: float = 0.2) -> float:
    """Intersection over union of the strongest pixels of both maps.

    Parameters
    ----------
    predicted, gaze : array-like of shape (H, W)
    share : float
        Of the pixels; as many of each map, and those that equal the last of them. Pixels at the map's minimum are never
        among them, so that a sparse map has fewer.

    Returns
    -------
    float
        NaN where a map is constant.
    """
    if not 0 < share <= 1:
        raise SettingError(f"share is above 0 and at most 1, got {share!r}")
    pair = _pair(predicted, gaze)
    if any(np.ptp(each) == 0 for each in pair):
        return math.nan
    a, b = (_strongest(each, share) for each in pair)
    return float((a & b).sum() / (a | b).sum())


def centre_map(shape: tuple[int, int], *, sigma: float = 0.25) -> Array:
    """A Gaussian in the middle of the image, which much gaze agrees with: the baseline that a map has to beat.

    Parameters
    ----------
    shape : (int, int)
    sigma : float
        In units of each side.
    """
    down, across = (np.exp(-0.5 * (((np.arange(size) + 0.5) / size - 0.5) / sigma) ** 2) for size in shape)
    middle = np.outer(down, across)
    scaled: Array = middle / middle.sum()
    return scaled


def _auc(hits: Array, misses: Array) -> float:
    ranks = stats.rankdata(np.concatenate([hits, misses]))
    wins = ranks[: len(hits)].sum() - len(hits) * (len(hits) + 1) / 2
    return float(wins / (len(hits) * len(misses)))


def _strongest(values: Array, share: float) -> Array:
    count = max(1, round(share * values.size))
    last = np.partition(values.ravel(), values.size - count)[values.size - count]
    chosen: Array = (values >= last) & (values > values.min())
    return chosen


def _cells(fixations: Fixations, shape: tuple[int, ...]) -> tuple[Array, Array]:
    inside = fixations.within((shape[0], shape[1]))
    if not len(inside):
        raise GazeError("no fixation lies on the image; are they in its pixels?")
    return np.floor(inside.y).astype(np.int64), np.floor(inside.x).astype(np.int64)


def _as_distribution(values: Array) -> Array:
    if (values < 0).any():
        raise SettingError("a map of both signs is no distribution; take its positive part or absolute values first")
    total = values.sum()
    return values / total if total > 0 else np.full_like(values, np.nan)


def _map(values: ArrayLike) -> Array:
    array = finite_floats(values, "the map").astype(np.float64)
    if array.ndim != 2:
        raise ShapeError(f"the map must be (H, W), got shape {array.shape}")
    return array


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Array, Array]:
    a, b = _map(first), _map(second)
    if a.shape != b.shape:
        raise ShapeError(f"the maps differ in shape: {a.shape} and {b.shape}; resize one of them")
    return a, b
