"""Schematic fundus photographs of five grades, each of which has a kind of lesion that no lower grade has."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from xai_med.backend.tensors import Array

SIZE = 64
RETINA = 0.95
"""Radius, where half of the image's side is 1."""

GRADES = ("0: none", "1: microaneurysms", "2: bleedings", "3: exudates", "4: new vessels")
"""Invented for this example.

Real grades (Wilkinson et al. 2003, doi:10.1016/S0161-6420(03)00475-5) follow from kinds of lesions too."""


@dataclass(frozen=True)
class Photographs:
    """Drawn photographs.

    Parameters
    ----------
    images : ndarray of shape (N, 3, SIZE, SIZE), float32
        Red, green, blue from 0 to 1.
    grades : ndarray of shape (N,), int64
    masks : ndarray of shape (N, SIZE, SIZE), bool
        Where the lesions are that decide the grade.
    """

    images: Array
    grades: Array
    masks: Array


def draw(count: int, *, seed: int) -> Photographs:
    """Draw photographs, all grades alike often."""
    random = np.random.default_rng(seed)
    grades = np.resize(np.arange(len(GRADES)), count)
    drawn = [_photograph(int(grade), random) for grade in grades]
    images, masks = (np.stack(part) for part in zip(*drawn, strict=True))
    return Photographs(images.astype(np.float32), grades.astype(np.int64), masks)


def retina() -> Array:
    """Where a photograph shows the retina, (SIZE, SIZE), bool."""
    y, x = _coordinates()
    return np.asarray(np.hypot(x, y) < RETINA)


def _coordinates() -> tuple[Array, Array]:
    """Of pixels' centres, down and to the right, from -1 to 1."""
    y, x = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE * 2 - 1
    return y, x


def _photograph(grade: int, random: np.random.Generator) -> tuple[Array, Array]:
    y, x = _coordinates()
    side = random.choice((-1, 1))
    disc_x, disc_y = side * random.uniform(0.45, 0.6), random.uniform(-0.1, 0.1)
    disc = np.exp(-((np.hypot(x - disc_x, y - disc_y) / 0.17) ** 4))
    macula = np.exp(-((np.hypot(x + 0.3 * side, y) / 0.2) ** 2))
    light = random.uniform(0.75, 1.0) * (1 - 0.25 * np.hypot(x - 0.2 * random.standard_normal(), y))
    vessels = _vessels(x, y, disc_x, disc_y, side, random)
    free = ndimage.binary_erosion(retina(), iterations=5) & (disc < 0.1)
    colour = [
        0.85 + 0.15 * disc - 0.08 * macula - 0.12 * vessels,
        0.42 + 0.45 * disc - 0.12 * macula - 0.20 * vessels,
        0.20 + 0.35 * disc - 0.05 * macula - 0.06 * vessels,
    ]
    mask = np.zeros((SIZE, SIZE), bool)
    for kind in range(1, grade + 1):
        if kind == grade or random.random() < 0.6:  # lesser lesions are often there too
            lesion, tint = _KINDS[kind - 1]
            shape = _scattered(int(random.integers(1, 4)), lesion, free, random)
            colour = [part + share * shape for part, share in zip(colour, tint, strict=True)]
            mask |= (shape > 0.5) & retina() & (kind == grade)
    film = np.stack(colour) * light * retina() + 0.015 * random.standard_normal((3, SIZE, SIZE))
    return np.clip(ndimage.gaussian_filter(film, (0, 0.5, 0.5)), 0, 1), mask


def _vessels(x: Array, y: Array, disc_x: float, disc_y: float, side: float, random: np.random.Generator) -> Array:
    """Four arcades from the disc."""
    found = np.zeros_like(x)
    for end in (-0.75, -0.35, 0.35, 0.75):
        away = (disc_x - x) * side
        course = disc_y + end * random.uniform(0.8, 1.1) * np.sqrt(np.clip(away, 0, None)) + 0.03 * np.sin(9 * x)
        found = np.maximum(found, np.exp(-(((y - course) / 0.025) ** 2)) * (away > 0))
    return found


def _scattered(count: int, lesion: "_Lesion", free: Array, random: np.random.Generator) -> Array:
    """Some lesions anywhere on the retina but on the disc, from 0 to 1."""
    rows, columns = np.nonzero(free)
    y, x = np.mgrid[:SIZE, :SIZE]
    found = np.zeros((SIZE, SIZE))
    for place in random.integers(len(rows), size=count):
        found = np.maximum(found, lesion(y - rows[place], x - columns[place], random))
    return found


def _dot(y: Array, x: Array, random: np.random.Generator) -> Array:
    return _disc(np.hypot(y, x), random.uniform(0.8, 1.1))


def _blot(y: Array, x: Array, random: np.random.Generator) -> Array:
    return _disc(np.hypot(y, x * random.uniform(0.75, 1.3)), random.uniform(2.2, 3.2))


def _exudates(y: Array, x: Array, random: np.random.Generator) -> Array:
    """A ring of small bright spots."""
    turn, radius = random.uniform(0, 2 * np.pi), random.uniform(2.5, 4.0)
    angles = turn + np.linspace(0, 2 * np.pi, 5, endpoint=False)
    spots = [_disc(np.hypot(y - radius * np.sin(a), x - radius * np.cos(a)), 1.0) for a in angles]
    return np.asarray(np.max(spots, axis=0))


def _tuft(y: Array, x: Array, random: np.random.Generator) -> Array:
    """A fan of fine vessels."""
    distance, turn = np.hypot(y, x), random.uniform(0, 2 * np.pi)
    rays = np.cos(5 * (np.arctan2(y, x) - turn)) > 0.3
    return np.asarray(rays * (distance < random.uniform(4.5, 6.0)) * 1.0)


def _disc(distance: Array, radius: float) -> Array:
    soft: Array = 1 / (1 + np.exp(np.clip((distance - radius) / 0.3, -30, 30)))
    return soft


_Lesion = Callable[[Array, Array, np.random.Generator], Array]
_KINDS: tuple[tuple[_Lesion, tuple[float, float, float]], ...] = (
    (_dot, (-0.35, -0.30, -0.10)),
    (_blot, (-0.35, -0.32, -0.12)),
    (_exudates, (0.15, 0.40, 0.15)),
    (_tuft, (-0.05, -0.30, -0.12)),
)
"""Lesions of grades 1 to 4: their form, and what they do to red, green and blue."""
