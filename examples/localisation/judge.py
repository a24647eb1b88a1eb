"""Judges maps by masks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.metrics import (
    Box,
    Estimate,
    average_precision,
    box_from_map,
    hit,
    iou,
    mask_from_map,
    mass,
    mean_with_interval,
    pixel_auc,
    pointing,
    rank_accuracy,
    weighted_mass,
)


@dataclass(frozen=True)
class Metric:
    """One number per map.

    Parameters
    ----------
    title : str
    measure : callable
        From a map (H, W) and a mask (H, W), bool, to a number; NaN where it does not exist.
    """

    title: str
    measure: Callable[[Array, Array], float]


def metrics(*, tolerance_px: float) -> Mapping[str, Metric]:
    """What a map is judged by.

    Parameters
    ----------
    tolerance_px : float
        How far from the finding the largest value may lie for `pointing`.
    """
    found = (
        Metric("peak in finding", hit),
        Metric(f"peak nearer than {tolerance_px:g} px", lambda values, mask: pointing(
            values, mask, tolerance_px=tolerance_px
        )),
        Metric("share in finding", lambda values, mask: mass(np.maximum(values, 0), mask)),
        Metric("share / area", lambda values, mask: weighted_mass(np.maximum(values, 0), mask)),
        Metric("strongest pixels", rank_accuracy),
        Metric("AUPRC", average_precision),
        Metric("pixel AUC", pixel_auc),
        Metric("IoU, Otsu", lambda values, mask: iou(mask_from_map(values, "otsu"), mask)),
        Metric("IoU of boxes", _box_iou),
    )  # fmt: skip
    return MappingProxyType({each.title: each for each in found})


def judged(maps: Array, masks: Array, *, tolerance_px: float) -> Mapping[str, Estimate]:
    """Mean of each metric over images, with a bootstrap interval over images.

    Parameters
    ----------
    maps : ndarray of shape (N, H, W)
    masks : ndarray of shape (N, H, W), bool
    tolerance_px : float
        Of `metrics`.
    """
    return {
        title: mean_with_interval([metric.measure(values, mask) for values, mask in zip(maps, masks, strict=True)])
        for title, metric in metrics(tolerance_px=tolerance_px).items()
    }


def _box_iou(values: Array, mask: Array) -> float:
    """Of the box around the largest part of the map, by Zhou et al.'s 20 %, and the box around the whole finding."""
    if not mask.any():
        return float("nan")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    truth = Box(columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    found = box_from_map(values, "cam")
    return 0.0 if found is None else found.iou(truth)
