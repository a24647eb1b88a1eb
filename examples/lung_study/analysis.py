"""Scores, tests and chance, method by method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from examples.lung_study.groups import Study
from xai_med import Explanation, explain
from xai_med.backend.tensors import Array
from xai_med.gaze import centre_map
from xai_med.regions import ChanceLevel, Comparison, chance_level, compare_groups, score_regions

METHODS = ("cam", "grad_cam", "gradient", "lrp", "clear")
KINDS = ("enrichment", "mean")


@dataclass(frozen=True)
class Analysis:
    """What was found.

    Parameters
    ----------
    comparisons : mapping of str to Comparison
        Normal against abnormal, by kind of score; all methods' tests of a kind are corrected together.
    chances : mapping of str to ChanceLevel
        By method: enrichment of the lungs, and of the same masks at random places.
    middle : ndarray of shape (N,)
        Enrichment of the lungs by a map that is strongest in the middle of every image, and knows nothing of it.
    """

    comparisons: Mapping[str, Comparison]
    chances: Mapping[str, ChanceLevel]
    middle: Array


def explained(study: Study, framework: str, methods: Sequence[str] = METHODS) -> dict[str, Explanation]:
    """Maps of all images by each method."""
    model = study.build(framework)
    return {method: explain(model, study.images, method=method, target=study.target) for method in methods}


def analysed(study: Study, explanations: Mapping[str, Explanation], *, shifts: int = 199) -> Analysis:
    """Score the positive part of every map in the lungs, compare the groups, and compare with shifted masks."""
    lungs = [regions.only("lungs") for regions in study.regions]
    comparisons = {
        kind: compare_groups(
            {
                method: score_regions(found, lungs, kind=kind, sign="positive")  # type: ignore[arg-type]
                for method, found in explanations.items()
            },
            study.labels,
            groups=study.patients,
        )
        for kind in KINDS
    }
    chances = {
        method: chance_level(found, lungs, kind="enrichment", sign="positive", shifts=shifts)
        for method, found in explanations.items()
    }
    blob = centre_map(study.images.shape[2:])
    middle = score_regions(np.broadcast_to(blob, (len(lungs), 1, *blob.shape)), lungs, kind="enrichment")
    return Analysis(comparisons, chances, middle.of("lungs"))


def lines(study: Study, analysis: Analysis) -> list[str]:
    """A table for people: a method a line."""
    names = analysis.comparisons["enrichment"].names
    head = ["method", *(f"{name} (chance)" for name in names), "p", "p, Holm", "effect (95 %)", "p of mean, Holm"]
    rows = [head]
    for method in analysis.chances:
        difference = analysis.comparisons["enrichment"].find("lungs", method=method)
        plain = analysis.comparisons["mean"].find("lungs", method=method)
        low, high = difference.interval
        rows.append(
            [
                method,
                *(
                    f"{mean:.2f} ({_by_chance(study, analysis.chances[method], name)})"
                    for mean, name in zip(difference.means, names, strict=True)
                ),
                _p(difference.p_value),
                _p(difference.p_adjusted),
                f"{difference.rank_biserial:+.2f} ({low:+.2f} to {high:+.2f})",
                _p(plain.p_adjusted),
            ]
        )
    labels = np.array(study.labels)
    rows.append(["the middle", *(f"{analysis.middle[labels == name].mean():.2f}" for name in names), "", "", "", ""])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _by_chance(study: Study, chance: ChanceLevel, group: str) -> str:
    """Mean enrichment of shifted masks in one group, and how rarely chance is as far from it as the observed one."""
    images = [number for number, label in enumerate(study.labels) if label == group]
    expected = float(np.nanmean(chance.shifted[:, images, 0, 0]))
    return f"{expected:.2f}, p {_p(chance.p_value('lungs', images=images))}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
