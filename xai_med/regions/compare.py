"""Whether the scores of regions differ between two groups of images."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy import stats

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError, ShapeError
from xai_med.regions.corrections import CORRECTIONS
from xai_med.regions.effects import cohen_d, rank_biserial
from xai_med.regions.group_tests import TESTS, Test, not_made
from xai_med.regions.scores import RegionScores

_FEWEST = 3  # values in a group, below which no test is worth its name


@dataclass(frozen=True)
class Protocol:
    """How groups are compared.

    Parameters
    ----------
    name : str
    test : str
        ``"mann_whitney"`` or ``"by_normality"``.
    correction : str
        ``"holm"``, ``"bonferroni"`` or ``"none"``.
    alpha : float
        Level of an adjusted p-value.
    per_method : bool
        Whether the tests of each method are corrected by themselves, and not all that are reported together.
    """

    name: str
    test: str
    correction: str
    alpha: float
    per_method: bool


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "default": Protocol("default", "mann_whitney", "holm", 0.05, per_method=False),
        "sumer2023": Protocol("sumer2023", "by_normality", "bonferroni", 0.001, per_method=True),
        "thirds": Protocol("thirds", "by_normality", "bonferroni", 0.05, per_method=True),
    }
)
"""The default; Sümer et al. 2023, PMLR 219:712-736; the notebook on thirds of chest radiographs."""


@dataclass(frozen=True)
class Difference:
    """One region, of one method: its scores in two groups.

    Parameters
    ----------
    method, region : str
    counts : (int, int)
        Images with a score, in each group.
    means, medians : (float, float)
        Of each group.
    test : str
        That was made; ``"none"`` with the reason in `note`.
    statistic, p_value, p_adjusted : float
    is_significant : bool
        Whether the adjusted p-value is below the protocol's level.
    rank_biserial, cohen_d : float
        Positive where the first group's scores are larger.
    interval : (float, float)
        Of the rank-biserial correlation, by bootstrap of images or patients; NaN where it was not asked for.
    note : str
    """

    method: str
    region: str
    counts: tuple[int, int]
    means: tuple[float, float]
    medians: tuple[float, float]
    test: str
    statistic: float
    p_value: float
    p_adjusted: float
    is_significant: bool
    rank_biserial: float
    cohen_d: float
    interval: tuple[float, float]
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two groups, compared region by region.

    Parameters
    ----------
    differences : tuple of Difference
    names : (str, str)
        Of the groups.
    protocol : Protocol
    caveats : tuple of str
        What the numbers do not say.
    """

    differences: tuple[Difference, ...]
    names: tuple[str, str]
    protocol: Protocol
    caveats: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Difference]:
        """Go through the differences."""
        return iter(self.differences)

    def rows(self) -> list[Mapping[str, Any]]:
        """One row per test, for tables."""
        return [asdict(each) for each in self.differences]

    def find(self, region: str, *, method: str | None = None) -> Difference:
        """The difference of one region.

        Raises
        ------
        SettingError
            None or several fit.
        """
        found = [each for each in self if each.region == region and method in (None, each.method)]
        if len(found) != 1:
            raise SettingError(f"{len(found)} comparisons of region {region!r} and method {method!r}; name one of each")
        return found[0]


def compare_groups(
    scores: RegionScores | Mapping[str, RegionScores],
    labels: Sequence[object],
    *,
    patients: Sequence[object] | None = None,
    protocol: str | Protocol = "default",
    score: int = 0,
    permutations: int = 9999,
    bootstrap: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare the scores of regions between two groups of images.

    Parameters
    ----------
    scores : RegionScores or mapping of str to RegionScores
        Of the same images; of several methods by name. All tests are corrected together by default.
    labels : sequence
        Of each image; two different values. The smaller one is the first group.
    patients : sequence, optional
        Whose image each is. With it whole patients are permuted and resampled, as images of one patient are alike.
    protocol : str or Protocol
        ``"default"``, ``"sumer2023"``, ``"thirds"``, or one of your own.
    score : int
        Which of the K explained classes.
    permutations : int
        Of patients; used only with `patients`.
    bootstrap : int
        Resamples for the interval of the effect; 0 for none.
    seed : int
        Of permutations and resamples.

    Returns
    -------
    Comparison

    Raises
    ------
    ShapeError
        Labels, patients and scores differ in number.
    SettingError
        Not two groups, a patient in both of them, or an unknown protocol.
    """
    methods = scores if isinstance(scores, Mapping) else {"": scores}
    plan = _plan(protocol)
    group, names = _groups(labels, methods)
    clusters = None if patients is None else _clusters(patients, group)
    made = [
        _difference(
            method, region, each.of(region, score=score), group, clusters, plan, (permutations, bootstrap, seed)
        )
        for method, each in methods.items()
        for region in each.regions
    ]
    return Comparison(tuple(_corrected(made, plan)), names, plan, _caveats(methods, clusters))


def _plan(protocol: str | Protocol) -> Protocol:
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise SettingError(f"protocol is one of {', '.join(PROTOCOLS)}, or a Protocol; got {protocol!r}")
    return PROTOCOLS[protocol]


def _groups(labels: Sequence[object], methods: Mapping[str, RegionScores]) -> tuple[Array, tuple[str, str]]:
    """Whether each image is of the second group, and the groups' names."""
    given = np.asarray(labels)
    for method, scores in methods.items():
        if given.shape != (len(scores.values),):
            raise ShapeError(
                f"{given.shape} labels were given for {len(scores.values)} images"
                + (f" of {method!r}" if method else "")
            )
    values = np.unique(given)
    if len(values) != 2:
        raise SettingError(
            f"two groups can be compared, the labels name {len(values)}: {', '.join(map(str, values[:5]))}"
        )
    return given == values[1], (str(values[0]), str(values[1]))


def _clusters(patients: Sequence[object], group: Array) -> list[Array]:
    """Images of each patient."""
    given = np.asarray(patients)
    if given.shape != group.shape:
        raise ShapeError(f"{given.shape} patients were given for {len(group)} images; name one for each")
    _, which = np.unique(given, return_inverse=True)
    clusters = [np.flatnonzero(which == number) for number in range(which.max() + 1)]
    mixed = [str(given[images[0]]) for images in clusters if len(np.unique(group[images])) > 1]
    if mixed:
        raise SettingError(
            f"patient {mixed[0]!r} has images in both groups; a comparison between patients needs each in one"
        )
    return clusters


def _difference(
    method: str,
    region: str,
    values: Array,
    group: Array,
    clusters: list[Array] | None,
    plan: Protocol,
    settings: tuple[int, int, int],
) -> Difference:
    exists = ~np.isnan(values)
    first, second = values[exists & ~group], values[exists & group]
    counts = len(first), len(second)
    note = "" if exists.all() else f"{int((~exists).sum())} images have no score here"
    base = Difference(
        method, region, counts, _pair(np.mean, first, second), _pair(np.median, first, second), "none", math.nan,
        math.nan, math.nan, False, math.nan, math.nan, (math.nan, math.nan), note,
    )  # fmt: skip
    if min(counts) < _FEWEST:
        return replace(base, note=f"too few scores for a test: {counts[0]} and {counts[1]}")
    permutations, resamples, seed = settings
    made = not_made("all scores are equal") if np.ptp(values[exists]) == 0 else TESTS[plan.test](first, second)
    units = _units(exists, clusters)
    if clusters is not None and made.name != "none":
        made = _permuted(values, group, units, permutations, seed)
    interval = _interval(values, group, units, resamples, seed) if resamples else (math.nan, math.nan)
    return replace(
        base,
        test=made.name,
        statistic=made.statistic,
        p_value=made.p_value,
        rank_biserial=rank_biserial(first, second),
        cohen_d=cohen_d(first, second),
        interval=interval,
        note="; ".join(filter(None, (note, made.note))),
    )


def _pair(summary: Callable[..., Any], first: Array, second: Array) -> tuple[float, float]:
    return tuple(float(summary(each)) if len(each) else math.nan for each in (first, second))  # type: ignore[return-value]


def _units(exists: Array, clusters: list[Array] | None) -> list[Array]:
    """What is permuted and resampled as a whole: images, or all images of a patient; only those with scores."""
    if clusters is None:
        return [np.array([image]) for image in np.flatnonzero(exists)]
    kept = [images[exists[images]] for images in clusters]
    return [images for images in kept if len(images)]


def _permuted(values: Array, group: Array, units: list[Array], permutations: int, seed: int) -> Test:
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


def _interval(values: Array, group: Array, units: list[Array], resamples: int, seed: int) -> tuple[float, float]:
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


def _corrected(made: list[Difference], plan: Protocol) -> list[Difference]:
    families = sorted({each.method for each in made}) if plan.per_method else [None]
    adjusted: dict[int, float] = {}
    for family in families:
        places = [place for place, each in enumerate(made) if family in (None, each.method)]
        values = CORRECTIONS[plan.correction](np.array([made[place].p_value for place in places]))
        adjusted.update(zip(places, map(float, values), strict=True))
    return [
        replace(each, p_adjusted=adjusted[place], is_significant=bool(adjusted[place] < plan.alpha))
        for place, each in enumerate(made)
    ]


def _caveats(methods: Mapping[str, RegionScores], clusters: list[Array] | None) -> tuple[str, ...]:
    """What a reader must know before believing a difference."""
    found = []
    if any(each.kind in ("mean", "sum", "max") for each in methods.values()):
        found.append(
            "scores in units of the map compare also how strong the maps are as a whole, not only where they lie; "
            "shares and enrichments do not"
        )
    targets = {name for each in methods.values() for row in each.targets for name in row[:1]}
    if len(targets) > 1:
        found.append(
            f"different classes were explained ({', '.join(sorted(targets)[:5])}): a difference may be of classes, "
            f"not of places"
        )
    if len(methods) > 1:
        found.append("the methods explain the same images, so that their tests are not independent")
    if clusters is None:
        found.append("every image counted as independent; give patients= where some have several")
    return tuple(found)
