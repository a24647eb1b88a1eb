"""Whether a map lies where a radiologist drew a finding.

Localisation measures how plausible a map is to a radiologist, not whether it shows what the model used (Jacovi and
Goldberg 2020, arXiv:2004.03685): a model that looks at the wrong place is faithfully explained by a map that misses.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import DtypeError, SettingError, ShapeError
from xai_med.maps.finite import finite_floats


def iou(predicted: ArrayLike, truth: ArrayLike, *, empty: float = math.nan) -> float:
    """Intersection over union of two masks.

    Parameters
    ----------
    predicted, truth : array-like of shape (*space), bool
    empty : float
        What it is where both are empty; NaN by default.

    Returns
    -------
    float
        0 where one of them is empty.

    References
    ----------
    Jaccard 1912, doi:10.1111/j.1469-8137.1912.tb05611.x.
    """
    a, b = _mask(predicted, "the predicted mask"), _mask(truth, "the true mask")
    _same_shape(a, b)
    either = int((a | b).sum())
    return int((a & b).sum()) / either if either else empty


def hit(values: ArrayLike, truth: ArrayLike) -> float:
    """1 where the map's largest value lies in the mask, the first of equal ones.

    NaN where the mask is empty or the map is constant.

    References
    ----------
    Saporta et al. 2022 (CheXlocalize), doi:10.1038/s42256-022-00536-x.
    """
    seen, mask = _pair(values, truth)
    return float(mask.ravel()[int(seen.argmax())]) if mask.any() and np.ptp(seen) > 0 else math.nan


def pointing(values: ArrayLike, truth: ArrayLike, *, tolerance_px: float = 15.0) -> float:
    """1 where the mask lies closer than a tolerance to the map's largest value.

    NaN where the mask is empty or the map is constant.

    References
    ----------
    Zhang et al. 2016, arXiv:1608.00507; with a strict tolerance of 15 pixels as in TorchRay.
    """
    if not tolerance_px > 0:
        raise SettingError(f"tolerance_px is above 0, got {tolerance_px!r}; `hit` has none")
    seen, mask = _pair(values, truth)
    if not mask.any() or np.ptp(seen) == 0:
        return math.nan
    point = np.array(np.unravel_index(int(seen.argmax()), seen.shape))
    nearest = np.linalg.norm(np.argwhere(mask) - point, axis=1).min()
    return float(nearest < tolerance_px)


def mass(values: ArrayLike, truth: ArrayLike) -> float:
    """Share of a map's total that lies in the mask; NaN where the map is zero everywhere or the mask is empty.

    Parameters
    ----------
    values : array-like of shape (*space)
        Nowhere negative: take the positive part or absolute values first.
    truth : array-like of shape (*space), bool

    References
    ----------
    Wang et al. 2020 (energy-based pointing game), arXiv:1910.01279; Arras et al. 2022 (relevance mass),
    arXiv:2003.07258.
    """
    seen, mask = _pair(values, truth)
    if (seen < 0).any():
        raise SettingError("the map has negative values, of which no share exists; take its positive part first")
    total = seen.sum()
    return float(seen[mask].sum() / total) if total > 0 and mask.any() else math.nan


def weighted_mass(values: ArrayLike, truth: ArrayLike) -> float:
    """Mass divided by the mask's share of the image: 1 is what an even map gets.

    References
    ----------
    Kohlbrenner et al. 2020, arXiv:1910.09840, equation 5.
    """
    mask = _mask(truth, "the true mask")
    return mass(values, truth) / float(mask.mean()) if mask.any() else math.nan


def rank_accuracy(values: ArrayLike, truth: ArrayLike) -> float:
    """Share of the mask among as many of the map's strongest pixels.

    Of pixels that equal the last of them each counts with its chance to be among them. NaN where the mask is empty or
    the map is constant.

    References
    ----------
    Arras et al. 2022 (relevance rank), arXiv:2003.07258.
    """
    seen, mask = _pair(values, truth)
    count = int(mask.sum())
    if not count or np.ptp(seen) == 0:
        return math.nan
    last = np.partition(seen.ravel(), seen.size - count)[seen.size - count]
    above, equal = seen > last, seen == last
    chance = (count - int(above.sum())) / int(equal.sum())
    return float((mask & above).sum() + chance * (mask & equal).sum()) / count


def average_precision(values: ArrayLike, truth: ArrayLike) -> float:
    """Area under precision and recall of pixels (AUPRC); without skill it is the mask's share of the image.

    Pixels of equal value enter together. NaN where the mask is empty.

    References
    ----------
    Arun et al. 2021, doi:10.1148/ryai.2021200267.
    """
    seen, mask = _pair(values, truth)
    positives = int(mask.sum())
    if not positives:
        return math.nan
    order = np.argsort(-seen.ravel(), kind="stable")
    ordered, found = seen.ravel()[order], mask.ravel()[order].cumsum()
    last = np.append(np.flatnonzero(np.diff(ordered)), ordered.size - 1)
    true_positives = found[last]
    gains = np.diff(true_positives, prepend=0) / positives
    return float((gains * true_positives / (last + 1)).sum())


def pixel_auc(values: ArrayLike, truth: ArrayLike) -> float:
    """Probability that the map is larger in the mask than outside, ties counting half; NaN where one side is empty.

    References
    ----------
    Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.
    """
    from scipy import stats

    seen, mask = _pair(values, truth)
    inside, outside = int(mask.sum()), int((~mask).sum())
    if not (inside and outside):
        return math.nan
    ranks = stats.rankdata(seen.ravel())[mask.ravel()].sum()
    return float((ranks - inside * (inside + 1) / 2) / (inside * outside))


def _pair(values: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    seen, mask = finite_floats(values, "the map").astype(np.float64), _mask(truth, "the true mask")
    _same_shape(seen, mask)
    return seen, mask


def _same_shape(first: Array, second: Array) -> None:
    if first.shape != second.shape:
        raise ShapeError(
            f"the map is {first.shape} and the mask {second.shape}; resize the map linearly, or the mask to its "
            f"nearest pixels"
        )


def _mask(mask: ArrayLike, name: str) -> Array:
    array = np.asarray(mask)
    if array.dtype.kind != "b":
        raise DtypeError(f"{name} must be boolean, got {array.dtype}; compare it with a threshold, such as mask > 0")
    return array
