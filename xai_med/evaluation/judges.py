"""The metrics that `evaluate` knows by name: one number for one map of one image, and which way is better."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from xai_med import metrics
from xai_med.backend.tensors import Array
from xai_med.errors import SettingError

_PARTS = 20
"""Sets of pixels in sensitivity-n are a twentieth of the image."""


@dataclass(frozen=True, eq=False)
class Case:
    """One map of one image, and whom to ask about it.

    Parameters
    ----------
    image : ndarray of shape (C, *space)
    values : ndarray of shape (*space), float64
        The map: raw, signed.
    mask : ndarray of shape (*space), bool, or None
        Where what is explained lies, if anybody knows.
    answer : callable
        Images (M, C, *space) to the explained score of each.
    again : callable
        An image (C, *space) to its map, by the same method for the same score.
    seed : int
        Of metrics that draw.
    """

    image: Array
    values: Array
    mask: Array | None
    answer: metrics.Answer
    again: Callable[[Array], Array]
    seed: int = 0

    @property
    def truth(self) -> Array:
        """The mask.

        Raises
        ------
        SettingError
            There is none.
        """
        if self.mask is None:
            raise SettingError("this metric compares maps with masks; give masks=")
        return self.mask


@dataclass(frozen=True)
class Judge:
    """A metric by name.

    Parameters
    ----------
    measure : callable
        A case to one number; NaN where it does not exist.
    better : "higher", "lower" or ""
        Which way is better; neither where it describes only.
    needs_mask : bool
        Whether it compares with a mask.
    describes : str
        In a few words, for tables.
    """

    measure: Callable[[Case], float]
    better: Literal["higher", "lower", ""]
    needs_mask: bool
    describes: str


def _of_mask(function: Callable[[Array, Array], float], describes: str) -> Judge:
    return Judge(lambda case: _where_known(function, case), "higher", True, describes)


def _where_known(function: Callable[[Array, Array], float], case: Case) -> float:
    return float(function(np.maximum(case.values, 0), case.truth)) if case.truth.any() else np.nan


def _is_constant(case: Case) -> bool:
    return bool(np.ptp(case.values) == 0)


def _ordered(measure: Callable[[Case], float]) -> Callable[[Case], float]:
    """A constant map has no order: the metric does not exist there."""
    return lambda case: np.nan if _is_constant(case) else measure(case)


def _steps(case: Case) -> int:
    return min(50, case.values.size)


def _deletion(case: Case) -> float:
    return metrics.deletion(case.answer, case.image, case.values, steps=_steps(case)).area


def _insertion(case: Case) -> float:
    return metrics.insertion(case.answer, case.image, case.values, steps=_steps(case)).area


def _road(order: Literal["morf", "lerf"]) -> Callable[[Case], float]:
    def measure(case: Case) -> float:
        return metrics.road(case.answer, case.image, case.values, order=order, seed=case.seed).mean_drop

    return measure


def _sensitivity_n(case: Case) -> float:
    n = max(1, case.values.size // _PARTS)
    return metrics.sensitivity_n(case.answer, case.image, case.values, n=n, seed=case.seed).correlation


def _max_sensitivity(case: Case) -> float:
    radius = 0.02 * float(np.ptp(case.image))
    if radius == 0:
        return np.nan
    return metrics.max_sensitivity(case.again, case.image, radius=radius, samples=5, seed=case.seed).relative


def _gap(case: Case) -> float:
    return metrics.completeness(case.answer, case.image, case.values).relative_gap


JUDGES: Mapping[str, Judge] = MappingProxyType(
    {
        "mass": _of_mask(metrics.mass, "share of the positive map inside the mask"),
        "weighted_mass": _of_mask(metrics.weighted_mass, "that share over the mask's share of the image; 1 is chance"),
        "rank_accuracy": _of_mask(metrics.rank_accuracy, "of the highest pixels, as many as the mask has, those in it"),
        "hit": _of_mask(metrics.hit, "whether the peak lies in the mask"),
        "pointing": _of_mask(metrics.pointing, "whether the peak lies within 15 px of the mask"),
        "pixel_auc": _of_mask(metrics.pixel_auc, "area under the ROC curve of pixels; 0.5 is chance"),
        "average_precision": _of_mask(metrics.average_precision, "of pixels; the mask's share is chance"),
        "deletion": Judge(_ordered(_deletion), "lower", False, "mean score while the highest pixels are removed"),
        "insertion": Judge(_ordered(_insertion), "higher", False, "mean score while the highest pixels come in"),
        "road_morf": Judge(_ordered(_road("morf")), "higher", False, "mean fall while the highest pixels are imputed"),
        "road_lerf": Judge(_ordered(_road("lerf")), "lower", False, "mean fall while the lowest pixels are imputed"),
        "sensitivity_n": Judge(
            _ordered(_sensitivity_n), "higher", False, "correlation of sums over random sets with the score's fall"
        ),
        "max_sensitivity": Judge(_max_sensitivity, "lower", False, "largest relative change of the map under noise"),
        "completeness": Judge(
            _gap, "lower", False, "gap of the map's sum to the score's rise above zero, as its share"
        ),
        "sparseness": Judge(lambda case: float(metrics.sparseness(case.values)), "", False, "Gini index of magnitudes"),
        "complexity": Judge(
            lambda case: float(metrics.complexity(case.values)), "", False, "entropy of magnitudes, in nats"
        ),
    }
)
"""By name."""
