"""Compares claimed derivatives with difference quotients that carry their own error bars."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.checks import Check, unmeasured
from xai_med.errors import IdentityError
from xai_med.verification.directions import (
    SEED,
    dense_directions,
    random_directions,
    steepest_direction,
    value_directions,
)

Objective: TypeAlias = Callable[[Array], Array]
"""Displacement (N, *shape) to scores (N, K), in float64."""

_SMALLEST_STEP, _LARGEST_STEP = 1e-6, 1e-3  # in units of the point's own size
_CERTAIN = 1e-3  # of a slope: a quotient with larger error bars is not used
# Largest deviations measured on ten real architectures with random weights in float32, where a rectifier or a max pool
# decides otherwise than in float64: 1.3e-2 of a slope along a random direction, 6e-4 along the steepest one.
_DENSE = {"float64": 1e-4, "float32": 0.1}
_STEEPEST = {"float64": 1e-4, "float32": 5e-3}
_HALF = 0.3  # of either, for the two or three digits of float16 and bfloat16


@dataclass(frozen=True, eq=False)
class Claim:
    """What is claimed of a score around one point.

    Parameters
    ----------
    objective : callable
        The score at a displacement, (N, *shape) to (N, K).
    point : ndarray of shape (N, C, *space)
        Where it was differentiated, for the sizes of steps.
    pattern : ndarray of shape (N, C, *space)
        Where this has equal values, so has the network: the images, or the features.
    slopes : ndarray of shape (N, K, *shape), float64
        The derivatives that were found.
    dtype : str
        In which they were computed.
    """

    objective: Objective
    point: Array
    pattern: Array
    slopes: Array
    dtype: str


@dataclass(frozen=True, eq=False)
class _Compared:
    """One direction: by how much claim and quotient differ, relative to the slope, and where the quotient is sure."""

    deviation: Array
    is_sure: Array


def slope_checks(claim: Claim, *, what: str) -> tuple[Check, ...]:
    """Compare claimed slopes with central differences along a few directions.

    Where the score has no derivative at the very point, because max pools tie or rectifiers stand on their edge, only
    directions that keep equal values equal can be used.

    Parameters
    ----------
    claim : Claim
        Of the score.
    what : str
        The claim, in words.

    Returns
    -------
    tuple of Check
        ``difference_quotients`` over random directions, and ``steepest_direction``.

    Raises
    ------
    IdentityError
        A slope differs from the difference quotient by more than both can be wrong.
    """
    generator = np.random.default_rng(SEED)
    aside = dense_directions(claim.point, np.random.default_rng(SEED + 1))
    here = claim.objective(np.zeros_like(claim.point))
    dense = _tolerance(_DENSE, claim.dtype)

    def compared(directions: Iterable[Array], tolerance: float) -> list[_Compared]:
        return [_compare(claim, direction, (next(aside), next(aside)), here, tolerance) for direction in directions]

    found = compared(random_directions(claim.point, generator), dense)
    is_smooth = np.all([one.is_sure for one in found], axis=0)
    found = [_Compared(one.deviation, is_smooth) for one in found]  # a kink can be missed along one of them by chance
    is_known = is_smooth
    note = f"{len(found)} random directions, seed {SEED}, in double precision"
    if not is_smooth.all():
        others = compared(value_directions(claim.point, claim.pattern, generator), dense)
        is_known = is_smooth | np.any([one.is_sure for one in others], axis=0)
        found += others
        note += (
            f"; for {int((~is_smooth).sum())} of {is_smooth.size} maps the score has a kink at this very input: "
            f"along {len(others)} directions that keep equal values equal"
        )
    tolerance = _tolerance(_STEEPEST, claim.dtype)
    along = compared([steepest_direction(claim.point, claim.pattern, claim.slopes, generator)], tolerance)
    return (
        _verdict(found, is_known, dense, Check(what, 0.0, note=note, key="difference_quotients")),
        _verdict(along, along[0].is_sure, tolerance, Check(f"{what}, along itself", 0.0, key="steepest_direction")),
    )


def _tolerance(table: dict[str, float], dtype: str) -> float:
    return table.get(dtype, _HALF)


def _compare(claim: Claim, direction: Array, aside: tuple[Array, ...], here: Array, tolerance: float) -> _Compared:
    parts = (claim.slopes * direction[:, None]).reshape(*here.shape, -1)
    claimed = parts.sum(axis=2)
    # the score's change were its parts independent; what no step can tell from rounding counts as no change
    rounding = np.maximum(1e-8 * np.abs(here), np.finfo(np.float64).tiny)
    size = np.maximum(np.maximum(np.sqrt((parts**2).sum(axis=2)), np.abs(claimed)), rounding)
    certain = min(tolerance / 3, _CERTAIN)
    value, error = _quotient(claim, direction, aside, here, certain / 3 * size)
    size = np.maximum(size, np.abs(value))
    return _Compared(np.abs(value - claimed) / size, error <= certain * size)


def _quotient(
    claim: Claim, direction: Array, aside: tuple[Array, ...], here: Array, enough: Array
) -> tuple[Array, Array]:
    """Central difference by the most certain of several steps, score by score, and its error bar.

    The error bar is how much the same difference is elsewhere, a little aside: where the score has a kink at the very
    point, it has none there, and another slope.
    """
    value, error = np.zeros(here.shape), np.full(here.shape, np.inf)
    rounding = 8 * np.finfo(np.float64).eps * np.abs(here)
    start = float(np.clip(4 * np.median(rounding / enough), _SMALLEST_STEP, _LARGEST_STEP))
    for step in (start, start / 10, start * 10, start * 100):
        central, *others = (
            (claim.objective(base + step * direction) - claim.objective(base - step * direction)) / (2 * step)
            for base in (0 * direction, *(2 * step * way for way in aside))
        )
        doubt = np.max([np.abs(central - other) for other in others], axis=0) + rounding / step
        is_better = doubt < error / 2
        value, error = np.where(is_better, central, value), np.where(is_better, doubt, error)
        if (error <= enough).all() or not is_better.any():
            break  # a kink stays, however small the step
    return value, error


def _verdict(found: Iterable[_Compared], is_known: Array, tolerance: float, check: Check) -> Check:
    """The worst of what is sure; nothing where too little is."""
    worst = max(float(np.where(one.is_sure, one.deviation, 0).max()) for one in found)
    if not worst <= tolerance:
        raise IdentityError(
            f"the attribution is not what it claims to be: {check.name} differs from difference quotients of the "
            f"score by {worst:.3g} of its size (at most {tolerance:g}); do not use this map: report it, with the model"
        )
    name = f"{check.name}: deviation from difference quotients"
    if not is_known.all():
        why = (
            f"for {int((~is_known).sum())} of {is_known.size} maps the score has a kink at this very input along every "
            f"direction tried, or changes too little"
        )
        return unmeasured(name, why, key=check.key)
    return Check(name, worst, tolerance, note=check.note, key=check.key)
