"""Numbers that judge maps: where they lie, what the model's score does without what they show, how steady they are."""

from xai_med.metrics.answer import Answer, ask
from xai_med.metrics.average_drop import ConfidenceDrop, confidence_drop
from xai_med.metrics.boxes import BOX_RULES, Box, BoxRule, box_from_map, mask_from_map
from xai_med.metrics.completeness import Completeness, completeness
from xai_med.metrics.complexity import complexity
from xai_med.metrics.fill import Blur, Fill
from xai_med.metrics.imputation import linear_imputation
from xai_med.metrics.infidelity import Infidelity, infidelity
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
from xai_med.metrics.perturbations import GaussianNoise, Perturbation, RemovedSquare
from xai_med.metrics.randomised_weights import RandomisedWeights, layers_top_down, randomised_weights
from xai_med.metrics.removal import Curve, deletion, insertion
from xai_med.metrics.road import Road, road
from xai_med.metrics.sanity import SanityCurve, sanity_curve
from xai_med.metrics.sensitivity_n import SensitivityN, sensitivity_n
from xai_med.metrics.similarity import random_pairs, similarity
from xai_med.metrics.sparseness import sparseness
from xai_med.metrics.stability import MaxSensitivity, Repeatability, max_sensitivity, repeatability

__all__ = [
    "BOX_RULES",
    "Answer",
    "Blur",
    "Box",
    "BoxRule",
    "Completeness",
    "ConfidenceDrop",
    "Curve",
    "Estimate",
    "Fill",
    "GaussianNoise",
    "Infidelity",
    "MaxSensitivity",
    "Perturbation",
    "RandomisedWeights",
    "RemovedSquare",
    "Repeatability",
    "Road",
    "SanityCurve",
    "SensitivityN",
    "ask",
    "average_precision",
    "box_from_map",
    "completeness",
    "complexity",
    "confidence_drop",
    "deletion",
    "hit",
    "infidelity",
    "insertion",
    "iou",
    "layers_top_down",
    "linear_imputation",
    "mask_from_map",
    "mass",
    "max_sensitivity",
    "mean_with_interval",
    "pixel_auc",
    "pointing",
    "random_pairs",
    "randomised_weights",
    "rank_accuracy",
    "repeatability",
    "road",
    "sanity_curve",
    "sensitivity_n",
    "similarity",
    "sparseness",
    "weighted_mass",
]
