"""Whether a region's scores rise with the severity of what was found there."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy import stats

from xai_med.errors import RegionError, ShapeError
from xai_med.regions.corrections import holm
from xai_med.regions.scores import RegionScores

SEVERITY: Mapping[str, float] = MappingProxyType({"absent": 0.0, "mild": 0.333, "moderate": 0.666, "severe": 1.0})
"""Grades as Sümer et al. 2023 count them."""


_FEW = 8
"""Images up to which all orders are tried."""


@dataclass(frozen=True)
class Finding:
    """One graded finding of one image.

    Parameters
    ----------
    image : int
        Of the batch.
    region : str
        Where it is.
    term : str
        What it is, such as a term of an ontology.
    severity : float
        From 0 to 1; see `SEVERITY`.
    """

    image: int
    region: str
    term: str
    severity: float


@dataclass(frozen=True)
class Alignment:
    """Rank correlation of one region's scores with the summed severity of its findings.

    Parameters
    ----------
    region : str
    correlation : float
        Spearman's; NaN where it does not exist.
    p_value, p_adjusted : float
        Two-sided; corrected for all regions by Holm.
    images : int
        With a score.
    terms : tuple of str
        That were found in the region.
    note : str
        Why there is no correlation.
    """

    region: str
    correlation: float
    p_value: float
    p_adjusted: float
    images: int
    terms: tuple[str, ...]
    note: str = ""


def align_with_grades(scores: RegionScores, findings: Sequence[Finding], *, score: int = 0) -> tuple[Alignment, ...]:
    """Correlate each region's scores with the severity of the findings there.

    Parameters
    ----------
    scores : RegionScores
        Of N images.
    findings : sequence of Finding
        Images without a finding in a region have severity 0 there.
    score : int
        Which explained class.

    Returns
    -------
    tuple of Alignment
        One for each region, in order.

    Raises
    ------
    RegionError
        A finding lies in a region that was not scored, or its severity is not between 0 and 1.
    ShapeError
        A finding is of an image that was not scored.

    References
    ----------
    Sümer et al. 2023, PMLR 219:712-736, research question 2.
    """
    images = len(scores.values)
    severity = np.zeros((images, len(scores.regions)))
    for finding in findings:
        if not 0 <= finding.image < images:
            raise ShapeError(f"{finding.term!r} is of image {finding.image}, there are {images} (0..{images - 1})")
        if not 0 <= finding.severity <= 1:
            raise RegionError(f"the severity of {finding.term!r} is {finding.severity}; give 0 to 1")
        severity[finding.image, scores.index(finding.region)] += finding.severity
    rows = []
    for place, region in enumerate(scores.regions):
        values = scores.of(region, score=score)
        exists = ~np.isnan(values)
        terms = tuple(sorted({finding.term for finding in findings if finding.region == region}))
        correlation, p_value, note = _spearman(values[exists], severity[exists, place])
        rows.append((region, correlation, p_value, int(exists.sum()), terms, note))
    adjusted = holm(np.array([row[2] for row in rows]))
    return tuple(
        Alignment(region, correlation, p_value, float(corrected), count, terms, note)
        for (region, correlation, p_value, count, terms, note), corrected in zip(rows, adjusted, strict=True)
    )


def _spearman(scores: np.ndarray, severity: np.ndarray) -> tuple[float, float, str]:
    if len(scores) < 3:
        return math.nan, math.nan, f"{len(scores)} images with a score are too few"
    if np.ptp(severity) == 0:
        return math.nan, math.nan, "the findings are equally severe in all images"
    if np.ptp(scores) == 0:
        return math.nan, math.nan, "the scores are equal in all images"
    found = stats.spearmanr(scores, severity)
    p_value = found.pvalue if len(scores) > _FEW else _exact(scores, severity)
    return float(found.statistic), float(p_value), ""


def _exact(scores: np.ndarray, severity: np.ndarray) -> float:
    """Two-sided, over all orders: the usual approximation gives 0 where few images are in perfect order."""
    ranks, others = (stats.rankdata(values) - (len(values) + 1) / 2 for values in (scores, severity))
    found = stats.permutation_test(
        (ranks,),
        lambda permuted, axis: (permuted * others).sum(axis=axis),
        permutation_type="pairings",
        n_resamples=np.inf,
        vectorized=True,
    )
    return float(found.pvalue)
