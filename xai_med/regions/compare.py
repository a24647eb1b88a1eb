"""Whether the scores of regions differ between two groups of images."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError, ShapeError
from xai_med.regions.comparison import Comparison, Difference
from xai_med.regions.corrections import CORRECTIONS
from xai_med.regions.effects import cohen_d, rank_biserial
from xai_med.regions.group_tests import TESTS, not_made
from xai_med.regions.protocols import Protocol, protocol_named
from xai_med.regions.resampling import interval, permuted, units_of
from xai_med.regions.scores import RegionScores

_FEWEST = 3  # values in a group, below which no test is worth its name


def compare_groups(
    scores: RegionScores | Mapping[str, RegionScores],
    labels: Sequence[object],
    *,
    groups: Sequence[object] | None = None,
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
    groups : sequence, optional
        Whose image each is, as scikit-learn names it. Whole patients are then permuted and resampled, as images of one
        patient are alike.
    protocol : str or Protocol
        ``"default"``, ``"sumer2023"``, ``"thirds"``, or one of your own.
    score : int
        Which of the K explained classes.
    permutations : int
        Of patients; used only with `groups`.
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
        Labels, groups and scores differ in number.
    SettingError
        Not two groups, a patient in both of them, or an unknown protocol.
    """
    methods = scores if isinstance(scores, Mapping) else {"": scores}
    plan = protocol_named(protocol)
    group, names = _groups(labels, methods)
    clusters = None if groups is None else _clusters(groups, group)
    made = [
        _difference(
            method, region, each.of(region, score=score), group, clusters, plan, (permutations, bootstrap, seed)
        )
        for method, each in methods.items()
        for region in each.regions
    ]
    return Comparison(tuple(_corrected(made, plan)), names, plan, _caveats(methods, clusters, score))


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


def _clusters(groups: Sequence[object], group: Array) -> list[Array]:
    """Images of each patient."""
    given = np.asarray(groups)
    if given.shape != group.shape:
        raise ShapeError(f"{given.shape} groups were given for {len(group)} images; name one for each")
    if given.dtype.kind == "f" and np.isnan(given).any():
        raise SettingError("groups holds NaN, which would make one patient of unrelated images; name each")
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
    units = units_of(exists, clusters)
    patients = [sum(bool(group[unit[0]]) is side for unit in units) for side in (False, True)]
    if min(patients) < _FEWEST:
        return replace(base, note=f"too few patients for a test: {patients[0]} and {patients[1]}")
    permutations, resamples, seed = settings
    made = not_made("all scores are equal") if np.ptp(values[exists]) == 0 else TESTS[plan.test](first, second)
    if clusters is not None and made.name != "none":
        made = permuted(values, group, units, permutations, seed)
    bounds = interval(values, group, units, resamples, seed) if resamples else (math.nan, math.nan)
    return replace(
        base,
        test=made.name,
        statistic=made.statistic,
        p_value=made.p_value,
        rank_biserial=rank_biserial(first, second),
        cohen_d=cohen_d(first, second),
        interval=bounds,
        note="; ".join(filter(None, (note, made.note))),
    )


def _pair(summary: Callable[..., Any], first: Array, second: Array) -> tuple[float, float]:
    return tuple(float(summary(each)) if len(each) else math.nan for each in (first, second))  # type: ignore[return-value]


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


def _caveats(methods: Mapping[str, RegionScores], clusters: list[Array] | None, score: int) -> tuple[str, ...]:
    """What a reader must know before believing a difference."""
    found = []
    if any(each.kind in ("mean", "sum", "max") for each in methods.values()):
        found.append(
            "scores in units of the map compare also how strong the maps are as a whole, not only where they lie; "
            "shares and enrichments do not"
        )
    targets = {name for each in methods.values() for row in each.targets for name in row[score : score + 1]}
    if len(targets) > 1:
        found.append(
            f"different classes were explained ({', '.join(sorted(targets)[:5])}): a difference may be of classes, "
            f"not of places"
        )
    if len(methods) > 1:
        found.append("the methods explain the same images, so that their tests are not independent")
    if clusters is None:
        found.append("every image counted as independent; give groups= where some have several")
    return tuple(found)
