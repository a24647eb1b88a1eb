"""Whether the same question gets the same map: with a little noise, and with the model trained again."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError, ShapeError
from xai_med.maps.finite import finite_floats
from xai_med.metrics.answer import one_image
from xai_med.metrics.frozen import freeze
from xai_med.metrics.settings import amount, one_of, whole_number
from xai_med.metrics.similarity import Similarity, random_pairs, similarity


@dataclass(frozen=True)
class MaxSensitivity:
    """The largest change of a map among noisy copies of its image.

    Parameters
    ----------
    absolute : float
        Euclidean norm of the change, in units of the map.
    relative : float
        Divided by the norm of the map; NaN where the map is zero everywhere.
    radius : float
        Largest change of a value of the image, in its units.
    samples : int
    seed : int
    """

    absolute: float
    relative: float
    radius: float
    samples: int
    seed: int


def max_sensitivity(
    explain_map: Callable[[Array], Array], image: ArrayLike, *, radius: float, samples: int = 10, seed: int = 0
) -> MaxSensitivity:
    """Search noisy copies of an image for the one whose map changes most.

    Parameters
    ----------
    explain_map : callable
        From one image (C, *space) to its map (*space) or attribution (C, *space), for the same target each time.
    image : array-like of shape (C, *space)
    radius : float
        Above 0, in units of the image. Noise is uniform between -radius and radius for every pixel and channel.
    samples : int
        The largest of so many is a lower bound of the largest of all.
    seed : int

    Raises
    ------
    SettingError
        A setting is out of its range.
    ShapeError
        `explain_map` returns something else than a map or an attribution of its image.
    DtypeError, NonFiniteError
        The image or a map does not hold finite real numbers.

    References
    ----------
    Yeh et al. 2019, arXiv:1901.09392, definition 3.1, which is `absolute`; their code and captum report `relative`.
    """
    pixels, count = one_image(image), whole_number(samples, "samples", least=1)
    most = amount(radius, "radius", above=0)
    random = np.random.default_rng(whole_number(seed, "seed", least=0))
    reference = _explained(explain_map, pixels)
    largest = 0.0
    for _ in range(count):
        noisy = (pixels + random.uniform(-most, most, size=pixels.shape)).astype(pixels.dtype)
        found = _explained(explain_map, noisy)
        if found.shape != reference.shape:
            raise ShapeError(f"explain_map returned a map of shape {reference.shape}, then one of {found.shape}")
        largest = max(largest, float(np.linalg.norm(found - reference)))
    size = float(np.linalg.norm(reference))
    return MaxSensitivity(largest, largest / size if size > 0 else math.nan, most, count, seed)


@dataclass(frozen=True, eq=False)
class Repeatability:
    """How alike maps of one image are, beside maps of different images.

    Parameters
    ----------
    kind : "spearman", "spearman_abs", "ssim" or "hog"
    pairs : tuple of (int, int)
        Which maps were compared.
    similarities : ndarray of shape (pairs,), float64
        NaN where a map is constant; read-only.
    baseline : ndarray of shape (random pairs,), float64
        Of maps of different images; read-only.
    """

    kind: Similarity
    pairs: tuple[tuple[int, int], ...]
    similarities: Array
    baseline: Array

    def __post_init__(self) -> None:
        freeze(self, "similarities", "baseline")

    @property
    def mean(self) -> float:
        """Over the pairs that have a similarity; NaN without any."""
        return _mean(self.similarities)

    @property
    def baseline_mean(self) -> float:
        """What maps of unrelated images have; `mean` says little where it is not well above."""
        return _mean(self.baseline)


def repeatability(
    maps: Sequence[ArrayLike],
    *,
    others: Sequence[ArrayLike],
    kinds: Sequence[Similarity] = ("ssim", "spearman"),
    random: int = 50,
    seed: int = 0,
) -> dict[Similarity, Repeatability]:
    """Compare each pair of maps of one image: by models trained again, of another architecture, or run again.

    Parameters
    ----------
    maps : sequence of array-likes of shape (*space)
        Of the same image, method and target; at least two.
    others : sequence of array-likes of shape (*space)
        Maps of other images by one of the models, at least two: maps are alike whatever they show, and empty ones
        most of all, so that no agreement is reported without the agreement of random pairs of these.
    kinds : sequence of "spearman", "spearman_abs", "ssim" and "hog"
        See `similarity`.
    random : int
        Random pairs of `others`.
    seed : int
        Of the random pairs.

    Returns
    -------
    dict of kind to Repeatability

    Raises
    ------
    SettingError
        Fewer than two maps, or an unknown kind.
    ShapeError, DtypeError, NonFiniteError, MissingDependencyError
        As of `similarity`.

    References
    ----------
    Arun et al. 2021, doi:10.1148/ryai.2021200267 (repeatability: the same architecture; reproducibility: another).
    """
    if len(maps) < 2:
        raise SettingError(f"repeatability compares at least two maps of one image, got {len(maps)}")
    pairs = tuple(combinations(range(len(maps)), 2))
    found: dict[Similarity, Repeatability] = {}
    for kind in kinds:
        one_of(kind, "kind", get_args(Similarity))
        similarities = np.array([similarity(maps[a], maps[b], kind=kind) for a, b in pairs])
        baseline = random_pairs(others, kind=kind, pairs=random, seed=seed)
        found[kind] = Repeatability(kind, pairs, similarities, baseline)
    return found


def _explained(explain_map: Callable[[Array], Array], pixels: Array) -> Array:
    values = finite_floats(explain_map(pixels.copy()), "the map").astype(np.float64)
    if values.shape not in (pixels.shape, pixels.shape[1:]):
        raise ShapeError(f"explain_map returned shape {values.shape} for an image (C, *space) of {pixels.shape}")
    return values


def _mean(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
