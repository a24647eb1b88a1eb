"""How alike two maps are, in the four ways of the sanity checks.

Two maps of one method are alike on any two images, empty ones most of all: a similarity means nothing without that of
random pairs, see `random_pairs`.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage, stats

from xai_med._optional import optional_import
from xai_med.backend.tensors import Array
from xai_med.errors import SettingError, ShapeError
from xai_med.maps.finite import finite_floats
from xai_med.maps.normalise import min_max
from xai_med.metrics.settings import one_of, whole_number

Similarity = Literal["spearman", "spearman_abs", "ssim", "hog"]

_RADIUS = 5  # of the window of SSIM: 3.5 standard deviations of 1.5 pixels, 11 pixels in all


def similarity(first: ArrayLike, second: ArrayLike, *, kind: Similarity) -> float:
    """Compare two maps; 1 for the same map.

    Parameters
    ----------
    first, second : array-like of shape (*space)
    kind : "spearman", "spearman_abs", "ssim" or "hog"
        Rank correlation of signed values or of magnitudes, ties at their mean rank; structural similarity of maps
        scaled to 0-1 each, Gaussian weights of sigma 1.5 pixels, mean over windows within the image, every side at
        least 11 pixels; or rank correlation of the histograms of oriented gradients of maps scaled to 0-1 (9
        orientations, cells of 16 x 16 pixels, blocks of 3 x 3 cells), two space axes, sides of at least 48 pixels.

    Returns
    -------
    float
        NaN where a map (its magnitudes, its histograms) is constant.

    Raises
    ------
    ShapeError
        The maps differ in shape, or are too small or of the wrong number of axes for the kind.
    SettingError
        An unknown kind.
    MissingDependencyError
        ``"hog"`` without scikit-image.
    DtypeError, NonFiniteError
        A map does not hold finite real numbers.

    References
    ----------
    Adebayo et al. 2018, arXiv:1810.03292, section 3, and their code. SSIM: Wang et al. 2004,
    doi:10.1109/TIP.2003.819861, equation 13 with K1 = 0.01, K2 = 0.03 and a range of 1.
    """
    one_of(kind, "kind", get_args(Similarity))
    a, b = (finite_floats(each, "a map").astype(np.float64) for each in (first, second))
    if a.shape != b.shape:
        raise ShapeError(f"the maps differ in shape: {a.shape} and {b.shape}; resize one of them")
    if not 1 <= a.ndim <= 3 or not a.size:
        raise ShapeError(f"a map has one to three space axes and at least one pixel, got shape {a.shape}")
    if kind == "spearman":
        return _spearman(a, b)
    if kind == "spearman_abs":
        return _spearman(np.abs(a), np.abs(b))
    return _ssim(a, b) if kind == "ssim" else _spearman(_gradients(a), _gradients(b))


def random_pairs(maps: Sequence[ArrayLike], *, kind: Similarity, pairs: int = 50, seed: int = 0) -> Array:
    """Similarities of random pairs among maps of different images: what two unrelated maps of a method have.

    Parameters
    ----------
    maps : sequence of M array-likes of shape (*space)
        One method, one model, one target, different images; at least two.
    kind : "spearman", "spearman_abs", "ssim" or "hog"
    pairs : int
        Different pairs that are drawn; all of them where there are not more.
    seed : int

    Returns
    -------
    ndarray of shape (pairs,), float64
        NaN where a map is constant. Other errors as of `similarity`.

    References
    ----------
    Arun et al. 2021, doi:10.1148/ryai.2021200267, who draw 50 pairs.
    """
    wanted, start = whole_number(pairs, "pairs", least=1), whole_number(seed, "seed", least=0)
    if len(maps) < 2:
        raise SettingError(f"random pairs are drawn among maps of at least two images, got {len(maps)}")
    every = list(combinations(range(len(maps)), 2))
    if len(every) > wanted:
        drawn = np.random.default_rng(start).choice(len(every), size=wanted, replace=False)
        every = [every[int(which)] for which in drawn]
    return np.array([similarity(maps[a], maps[b], kind=kind) for a, b in every])


def _spearman(a: Array, b: Array) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    ranks = [stats.rankdata(each.ravel()) for each in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def _ssim(a: Array, b: Array) -> float:
    if min(a.shape) < 2 * _RADIUS + 1:
        raise ShapeError(f"SSIM needs maps of at least {2 * _RADIUS + 1} pixels along each axis, got shape {a.shape}")
    scaled = [min_max(each, each.ndim) for each in (a, b)]
    if any(each.constant for each in scaled):
        return math.nan
    x, y = (each.values for each in scaled)
    mean_x, mean_y = _window(x), _window(y)
    variance_x, variance_y = _window(x * x) - mean_x**2, _window(y * y) - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    size = (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    return float((alike / size).mean())


def _window(values: Array) -> Array:
    """Gaussian means of the windows that lie within the image."""
    means: Array = ndimage.gaussian_filter(values, 1.5, radius=_RADIUS)
    return means[(slice(_RADIUS, -_RADIUS),) * values.ndim]


def _gradients(values: Array) -> Array:
    if values.ndim != 2 or min(values.shape) < 48:
        raise ShapeError(
            f"histograms of gradients need maps (H, W) of at least 48 pixels a side (blocks of 3 x 3 cells of 16 x 16 "
            f"pixels), got shape {values.shape}"
        )
    feature = optional_import("skimage.feature", extra="viz")
    found: Array = feature.hog(
        min_max(values, 2).values, orientations=9, pixels_per_cell=(16, 16), cells_per_block=(3, 3)
    )
    return found
