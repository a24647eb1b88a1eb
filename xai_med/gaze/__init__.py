"""Radiologists' gaze: reading it, fixations, heat maps, and how well a map agrees with it."""

from xai_med.gaze.agreement import (
    centre_map,
    correlation,
    gaze_auc,
    kl_divergence,
    overlap,
    scan_path_saliency,
    shuffled_auc,
    similarity,
)
from xai_med.gaze.detection import fixations_by_dispersion, fixations_by_velocity
from xai_med.gaze.fixations import Fixations, Samples
from xai_med.gaze.heat_maps import egd_cxr_heat_map, heat_map, miceye_heat_map, reflacx_heat_map
from xai_med.gaze.losses import DISTANCES, attention_loss
from xai_med.gaze.reading import read_fixations, read_samples
from xai_med.gaze.refine import RefinedCams, refine_cams
from xai_med.gaze.screen import Screen

__all__ = [
    "DISTANCES",
    "Fixations",
    "RefinedCams",
    "Samples",
    "Screen",
    "attention_loss",
    "centre_map",
    "correlation",
    "egd_cxr_heat_map",
    "fixations_by_dispersion",
    "fixations_by_velocity",
    "gaze_auc",
    "heat_map",
    "kl_divergence",
    "miceye_heat_map",
    "overlap",
    "read_fixations",
    "read_samples",
    "refine_cams",
    "reflacx_heat_map",
    "scan_path_saliency",
    "shuffled_auc",
    "similarity",
]
