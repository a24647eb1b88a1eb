"""Finds fixations among raw samples, by velocity or by dispersion."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError
from xai_med.gaze.fixations import Fixations, Samples


def fixations_by_velocity(
    samples: Samples,
    *,
    pixels_per_degree: tuple[float, float],
    threshold_deg_s: float = 30.0,
    shortest_s: float = 0.06,
    join_within_s: float = 0.075,
    join_within_deg: float = 0.5,
    largest_gap_s: float | None = None,
) -> Fixations:
    """Fixations are runs of slow samples (I-VT).

    A step between two samples is slow up to the threshold; runs of slow steps are groups of samples, at their centroid.
    Groups close in time and place are joined, then short ones dropped. A lost eye ends a group.

    Parameters
    ----------
    samples : Samples
        In pixels.
    pixels_per_degree : (float, float)
        Horizontally and vertically; see `Screen`.
    threshold_deg_s : float
        Of velocity, in degrees of the visual field per second; 20 to 100 are usual.
    shortest_s : float
        Groups that last less are dropped.
    join_within_s, join_within_deg : float
        Groups not farther apart than both are one.
    largest_gap_s : float, optional
        Two samples farther apart in time are not one look, as trackers leave out lost samples; by default three times
        the usual interval, and at least 0.075 s.

    References
    ----------
    Salvucci and Goldberg 2000, doi:10.1145/355017.355028.
    """
    _positive(threshold_deg_s=threshold_deg_s)
    x, y = _in_degrees(samples, pixels_per_degree)
    with np.errstate(invalid="ignore"):
        velocity = np.hypot(np.diff(x), np.diff(y)) / np.diff(samples.time_s)
        is_slow = (velocity <= threshold_deg_s) & ~_gaps(samples, largest_gap_s)
    groups = [slice(start, stop + 1) for start, stop in _runs(is_slow)]
    joined = _joined(groups, samples.time_s, x, y, join_within_s, join_within_deg)
    return _of_groups(samples, [group for group in joined if _lasts(samples.time_s, group) >= shortest_s])


def fixations_by_dispersion(
    samples: Samples,
    *,
    pixels_per_degree: tuple[float, float],
    dispersion_deg: float = 1.0,
    shortest_s: float = 0.1,
    largest_gap_s: float | None = None,
) -> Fixations:
    """Fixations are windows of samples that lie close together (I-DT).

    A window of the shortest duration is a fixation where the ranges of x and y add up to at most the dispersion; it is
    widened for as long as that holds. Else it moves on by one sample. A lost eye ends a window.

    Parameters
    ----------
    samples, pixels_per_degree, largest_gap_s
        As in `fixations_by_velocity`.
    dispersion_deg : float
        Largest sum of the two ranges, in degrees.
    shortest_s : float
        Of a fixation.

    References
    ----------
    Salvucci and Goldberg 2000, doi:10.1145/355017.355028, algorithm I-DT.
    """
    _positive(dispersion_deg=dispersion_deg, shortest_s=shortest_s)
    x, y = _in_degrees(samples, pixels_per_degree)
    groups: list[slice] = []
    gaps = _gaps(samples, largest_gap_s)
    for begin, end in _runs(samples.is_seen):
        edges = [begin, *(begin + 1 + np.flatnonzero(gaps[begin : end - 1])).tolist(), end]
        for first, last in pairwise(edges):
            groups += _windows(samples.time_s, x, y, first, last, dispersion_deg, shortest_s)
    return _of_groups(samples, groups)


def _windows(
    time_s: Array, x: Array, y: Array, begin: int, end: int, dispersion: float, shortest_s: float
) -> Iterator[slice]:
    start = begin
    while start < end:
        stop = start + 1
        while stop < end and time_s[stop - 1] - time_s[start] < shortest_s - 1e-9:
            stop += 1
        if time_s[stop - 1] - time_s[start] < shortest_s - 1e-9:
            return  # what is left is too short
        if _spread(x, y, start, stop) > dispersion:
            start += 1
            continue
        while stop < end and _spread(x, y, start, stop + 1) <= dispersion:
            stop += 1
        yield slice(start, stop)
        start = stop


def _gaps(samples: Samples, largest_gap_s: float | None) -> Array:
    """Whether a step between two samples takes too long to be one look."""
    steps = np.diff(samples.time_s)
    if largest_gap_s is None:
        largest_gap_s = max(0.075, 3 * float(np.median(steps))) if len(steps) else 0.075
    _positive(largest_gap_s=largest_gap_s)
    too_long: Array = steps > largest_gap_s
    return too_long


def _spread(x: Array, y: Array, start: int, stop: int) -> float:
    return float(np.ptp(x[start:stop]) + np.ptp(y[start:stop]))


def _in_degrees(samples: Samples, pixels_per_degree: tuple[float, float]) -> tuple[Array, Array]:
    across, down = pixels_per_degree
    _positive(pixels_per_degree=min(across, down))
    return samples.x / across, samples.y / down


def _positive(**settings: float) -> None:
    for name, value in settings.items():
        if not value > 0:
            raise SettingError(f"{name} is above 0, got {value!r}")


def _runs(flags: Array) -> list[tuple[int, int]]:
    """Start and stop of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _joined(groups: list[slice], time_s: Array, x: Array, y: Array, gap_s: float, gap_deg: float) -> list[slice]:
    joined: list[slice] = []
    for group in groups:
        if joined:
            before = joined[-1]
            gap = time_s[group.start] - time_s[before.stop - 1]
            away = np.hypot(x[group].mean() - x[before].mean(), y[group].mean() - y[before].mean())
            is_seen = bool(np.isfinite(x[before.stop - 1 : group.start + 1]).all())
            if gap < gap_s and away < gap_deg and is_seen:
                joined[-1] = slice(before.start, group.stop)
                continue
        joined.append(group)
    return joined


def _lasts(time_s: Array, group: slice) -> float:
    return float(time_s[group.stop - 1] - time_s[group.start]) + 1e-9  # 60 ms of samples are 60 ms after rounding too


def _of_groups(samples: Samples, groups: list[slice]) -> Fixations:
    return Fixations(
        x=np.array([samples.x[group].mean() for group in groups]),
        y=np.array([samples.y[group].mean() for group in groups]),
        duration_s=np.array([samples.time_s[group.stop - 1] - samples.time_s[group.start] for group in groups]),
        start_s=np.array([samples.time_s[group.start] for group in groups]),
    )
