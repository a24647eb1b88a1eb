"""What a region of the same shape and size would score by chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError
from xai_med.regions.masks import Regions
from xai_med.regions.scores import Kind, RegionScores, Sign, score_regions

if TYPE_CHECKING:
    from xai_med.explanation import Explanation


@dataclass(frozen=True, eq=False)
class ChanceLevel:
    """Observed scores beside those of the same masks, shifted at random.

    Parameters
    ----------
    observed : RegionScores
    shifted : ndarray of shape (S, N, K, R)
        Scores after each of S random shifts.
    seed : int
        Of the shifts.
    """

    observed: RegionScores
    shifted: Array
    seed: int

    def mean(self, region: str, *, score: int = 0) -> tuple[float, float]:
        """Mean over images, observed and by chance."""
        place = self.observed.index(region)
        by_chance = self.shifted[:, :, score, place]
        return float(np.nanmean(self.observed.of(region, score=score))), float(np.nanmean(by_chance))

    def p_value(self, region: str, *, score: int = 0, images: Sequence[int] | None = None) -> float:
        """How often chance gives a mean over images at least as far from its own mean as the observed one.

        Parameters
        ----------
        region : str
        score : int
            Which explained class.
        images : sequence of int, optional
            Of these images only, such as one group.

        Returns
        -------
        float
            Two-sided, at least 1 / (S + 1) (Phipson and Smyth 2010, doi:10.2202/1544-6115.1585). NaN without scores.
        """
        place = self.observed.index(region)
        chosen = slice(None) if images is None else list(images)
        observed = self.observed.of(region, score=score)[chosen]
        if np.isnan(observed).all():
            return float("nan")
        means = np.nanmean(self.shifted[:, chosen, score, place], axis=1)
        centre = means.mean()
        distance = abs(float(np.nanmean(observed)) - centre)
        beyond = int((np.abs(means - centre) >= distance * (1 - 1e-12)).sum())
        return (1 + beyond) / (1 + len(means))


def chance_level(
    maps: "Explanation | ArrayLike",
    regions: Regions | Sequence[Regions],
    *,
    kind: Kind = "enrichment",
    sign: Sign | None = None,
    shifts: int = 199,
    seed: int = 0,
) -> ChanceLevel:
    """Score the same masks at random places, as a null for where a map lies.

    All masks of an image are shifted together, cyclically along every axis, so that their areas, shapes and distances
    stay. On average that is an even spread, an enrichment of 1; its scatter says how far from 1 such masks get by
    chance. It does not know that maps, and hearts, are often in the middle: for that score a map of the middle
    (`xai_med.gaze.centre_map`) by the same regions.

    Parameters
    ----------
    maps, regions, kind, sign
        As in `score_regions`.
    shifts : int
        How many.
    seed : int
        Of the shifts.

    Raises
    ------
    SettingError
        Fewer than one shift.
    """
    if shifts < 1:
        raise SettingError(f"shifts is at least 1, got {shifts}")
    observed = score_regions(maps, regions, kind=kind, sign=sign)
    random = np.random.default_rng(seed)
    images = len(observed.values)
    each: list[Any] = [regions] * images if isinstance(regions, Regions) else list(regions)
    shifted = np.stack(
        [
            score_regions(maps, [_moved(one, random) for one in each], kind=kind, sign=observed.sign).values
            for _ in range(shifts)
        ]
    )
    shifted.setflags(write=False)
    return ChanceLevel(observed, shifted, seed)


def _moved(regions: Regions, random: np.random.Generator) -> Regions:
    axes = tuple(range(1, regions.masks.ndim))
    steps = tuple(int(random.integers(size)) for size in regions.space)
    return Regions(np.roll(regions.masks, steps, axis=axes), regions.names, regions.note)
