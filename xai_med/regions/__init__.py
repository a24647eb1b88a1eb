"""Regions of images: how much of a map lies in each, and whether groups of images differ."""

from xai_med.regions.compare import compare_groups
from xai_med.regions.comparison import Comparison, Difference
from xai_med.regions.grades import SEVERITY, Alignment, Finding, align_with_grades
from xai_med.regions.masks import Regions, from_labels, from_masks
from xai_med.regions.null import ChanceLevel, chance_level
from xai_med.regions.protocols import PROTOCOLS, Protocol
from xai_med.regions.scores import RegionScores, score_regions
from xai_med.regions.shapes import boxes, grid, polygons
from xai_med.regions.template import aligned_template, chest_template, split_lungs

__all__ = [
    "PROTOCOLS",
    "SEVERITY",
    "Alignment",
    "ChanceLevel",
    "Comparison",
    "Difference",
    "Finding",
    "Protocol",
    "RegionScores",
    "Regions",
    "align_with_grades",
    "aligned_template",
    "boxes",
    "chance_level",
    "chest_template",
    "compare_groups",
    "from_labels",
    "from_masks",
    "grid",
    "polygons",
    "score_regions",
    "split_lungs",
]
