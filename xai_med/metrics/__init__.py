"""Numbers that judge maps."""

from xai_med.metrics.boxes import BOX_RULES, Box, BoxRule, box_from_map, mask_from_map
from xai_med.metrics.intervals import Estimate, mean_with_interval
from xai_med.metrics.localisation import (
    average_precision,
    hit,
    iou,
    mass,
    pixel_auc,
    pointing,
    rank_accuracy,
    weighted_mass,
)

__all__ = [
    "BOX_RULES",
    "Box",
    "BoxRule",
    "Estimate",
    "average_precision",
    "box_from_map",
    "hit",
    "iou",
    "mask_from_map",
    "mass",
    "mean_with_interval",
    "pixel_auc",
    "pointing",
    "rank_accuracy",
    "weighted_mass",
]
