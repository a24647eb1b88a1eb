"""Shapley values by weighted least squares over coalitions, with the sum fixed."""

from dataclasses import dataclass
from itertools import product
from math import comb

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError


@dataclass(frozen=True, eq=False)
class Coalitions:
    """Which players are in, and how much each coalition counts.

    Parameters
    ----------
    kept : ndarray of shape (coalitions, players), float64
        Ones and zeros; neither empty nor complete.
    weights : ndarray of shape (coalitions,)
        Of the regression.
    is_complete : bool
        Whether every coalition is there, so that values are exact.
    """

    kept: Array
    weights: Array
    is_complete: bool


def drawn_coalitions(players: int, samples: int, seed: int) -> Coalitions:
    """All coalitions where there are at most `samples`, else draws in complementary pairs.

    Parameters
    ----------
    players : int
        At least two.
    samples : int
        Most coalitions.
    seed : int
        Of the draws.

    Raises
    ------
    SettingError
        Fewer draws than are needed to tell the players apart.
    """
    if 2**players - 2 <= samples:
        kept = np.array([row for row in product((0.0, 1.0), repeat=players) if 0 < sum(row) < players])
        sizes = kept.sum(axis=1).astype(int)
        weights = np.array([1 / (comb(players, size) * size * (players - size)) for size in sizes])
        return Coalitions(kept, weights, True)
    if samples < 2 * players:
        raise SettingError(f"{samples} samples cannot tell {players} parts apart; give at least {2 * players}")
    generator = np.random.default_rng(seed)
    sizes = np.arange(1, players)
    chances = 1 / (sizes * (players - sizes))  # how often a size is met under the Shapley kernel
    drawn = generator.choice(sizes, size=samples // 2, p=chances / chances.sum())
    kept = np.zeros((len(drawn), players))
    for row, size in zip(kept, drawn, strict=True):
        row[generator.permutation(players)[:size]] = 1
    both = np.stack([kept, 1 - kept], axis=1).reshape(-1, players)
    return Coalitions(both, np.ones(len(both)), False)


def shapley_values(coalitions: Coalitions, scores: Array, without: Array, whole: Array) -> Array:
    """Solve for the values whose sum is ``whole - without``.

    Parameters
    ----------
    coalitions : Coalitions
        That were asked.
    scores : ndarray of shape (coalitions, K)
        Of each.
    without, whole : ndarray of shape (K,)
        Scores of no player, and of all.

    Returns
    -------
    ndarray of shape (K, players)

    Raises
    ------
    SettingError
        The draws cannot tell two players apart.
    """
    kept, weights = coalitions.kept, coalitions.weights[:, None]
    players = kept.shape[1]
    rise = whole - without
    # the last player gets what the others leave, which fixes the sum
    others = kept[:, :-1] - kept[:, -1:]
    wanted = scores - without - kept[:, -1:] * rise
    system = others.T @ (weights * others)
    if np.linalg.matrix_rank(system) < players - 1:
        raise SettingError("these coalitions cannot tell the parts apart; give more samples, or another seed")
    found = np.linalg.solve(system, others.T @ (weights * wanted))
    return np.concatenate([found, (rise - found.sum(axis=0))[None]]).T
