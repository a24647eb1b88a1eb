"""Permutations and resamples of whole images, or of all images of a patient."""

import numpy as np
from scipy import stats

from xai_med.backend.tensors import Array
from xai_med.regions.effects import rank_biserial
from xai_med.regions.group_tests import Test


def units_of(exists: Array, clusters: list[Array] | None) -> list[Array]:
    """What is permuted and resampled as a whole: images, or all images of a patient; only those with scores."""
    if clusters is None:
        return [np.array([image]) for image in np.flatnonzero(exists)]
    kept = [images[exists[images]] for images in clusters]
    return [images for images in kept if len(images)]


def permuted(values: Array, group: Array, units: list[Array], permutations: int, seed: int) -> Test:
    """Two-sided permutation test of the rank-biserial correlation, patients as a whole."""
    is_second = np.array([group[images[0]] for images in units])
    numbers = np.arange(len(units))

    def effect(first: Array, second: Array) -> float:
        return rank_biserial(*(values[np.concatenate([units[int(n)] for n in which])] for which in (first, second)))

    found = stats.permutation_test(
        (numbers[~is_second], numbers[is_second]), effect, permutation_type="independent", vectorized=False,
        n_resamples=permutations, alternative="two-sided", rng=np.random.default_rng(seed),
    )  # fmt: skip
    name = f"permutation of {len(units)} patients, rank-biserial"
    return Test(name, float(found.statistic), float(found.pvalue))


def interval(values: Array, group: Array, units: list[Array], resamples: int, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the rank-biserial correlation, units resampled within their group."""
    random = np.random.default_rng(seed)
    sides = [[images for images in units if group[images[0]] == side] for side in (False, True)]
    effects = []
    for _ in range(resamples):
        drawn = [
            values[np.concatenate([side[number] for number in random.integers(len(side), size=len(side))])]
            for side in sides
        ]
        effects.append(rank_biserial(*drawn))
    low, high = np.quantile(effects, (0.025, 0.975))
    return float(low), float(high)
