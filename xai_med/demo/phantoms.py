"""Schematic frontal chest radiographs with findings whose place is known to the pixel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from xai_med.backend.tensors import Array
from xai_med.demo.anatomy import Chest, draw_chest, radiograph, soft_step
from xai_med.errors import SettingError

FINDINGS: tuple[str, ...] = ("nodule", "effusion", "enlarged heart", "consolidation")
"""What a phantom may show, in the order of labels and masks."""

SMALLEST_SIZE = 64  # below, the smallest nodule is three pixels wide

LETTERS = {
    "L": ("100", "100", "100", "100", "111"),
    "R": ("110", "101", "110", "101", "101"),
}


@dataclass(frozen=True)
class Phantoms:
    """Synthetic radiographs with their truth; every array is read-only.

    Parameters
    ----------
    images : ndarray of shape (N, 1, size, size), float32
        In [0, 1]; bone and fluid are bright, air is dark. The patient's left is on the right.
    labels : ndarray of shape (N, 4), bool
        Whether each of `names` is present.
    masks : ndarray of shape (N, 4, size, size), bool
        Where it is; empty where it is absent. For an enlarged heart: the heart's silhouette.
    lungs : ndarray of shape (N, size, size), bool
        Lung fields beside heart and mediastinum, above the diaphragm; also where fluid or a
        consolidation covers them.
    names : tuple of str
        `FINDINGS`.
    seed : int
        From which the phantoms were drawn.
    """

    images: Array
    labels: Array
    masks: Array
    lungs: Array
    names: tuple[str, ...]
    seed: int

    def __post_init__(self) -> None:
        for array in (self.images, self.labels, self.masks, self.lungs):
            array.setflags(write=False)


def phantoms(
    count: int, *, seed: int, prevalence: float = 0.35, size: int = 128, present: ArrayLike | None = None
) -> Phantoms:
    """Draw chest radiograph phantoms.

    Each phantom depends on `seed` and on its own index only, and its findings on random numbers of
    their own: with another `prevalence` the same patients come back with other findings.

    Parameters
    ----------
    count : int
        At least 1.
    seed : int
        At least 0.
    prevalence : float
        Probability of each finding, independently, in [0, 1].
    size : int
        Pixels along each side, at least 64; the shipped network takes 128.
    present : array-like of shape (count, 4), bool
        Which findings to draw, in place of `prevalence`: the same patients as they would look without one of them.

    Raises
    ------
    SettingError
        An argument is outside its range.
    """
    _check_integer("count", count, least=1)
    _check_integer("seed", seed, least=0)
    _check_integer("size", size, least=SMALLEST_SIZE)
    if not 0.0 <= prevalence <= 1.0:
        raise SettingError(f"prevalence is a probability, got {prevalence}; give a number from 0 to 1")
    wanted = None if present is None else np.asarray(present)
    if wanted is not None and (wanted.shape != (count, len(FINDINGS)) or wanted.dtype != bool):
        raise SettingError(
            f"present is bool of shape {(count, len(FINDINGS))}, got {wanted.dtype} of shape {wanted.shape}"
        )
    images = np.empty((count, 1, size, size), np.float32)
    labels = np.empty((count, len(FINDINGS)), bool)
    masks = np.empty((count, len(FINDINGS), size, size), bool)
    lungs = np.empty((count, size, size), bool)
    for index, source in enumerate(np.random.SeedSequence(seed).spawn(count)):
        children = [np.random.default_rng(child) for child in source.spawn(4 + len(FINDINGS))]
        chance, chest_random, vessel_random, film_random, *finding_random = children
        drawn = chance.random(len(FINDINGS)) < prevalence
        labels[index] = drawn if wanted is None else wanted[index]
        chest = draw_chest(chest_random, finding_random[2], size, has_large_heart=bool(labels[index, 2]))
        air, added, masks[index] = _add_findings(chest, finding_random, labels[index])
        images[index, 0] = _expose(radiograph(chest, air, added, vessel_random), chest, film_random)
        lungs[index] = chest.lungs
    return Phantoms(images, labels, masks, lungs, FINDINGS, seed)


def _check_integer(name: str, value: int, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise SettingError(f"{name} must be an integer of at least {least}, got {value!r}")


def _add_findings(chest: Chest, random: list[np.random.Generator], present: Array) -> tuple[Array, Array, Array]:
    """Displace air by fluid or infiltrate, then add the nodule where lung is still seen."""
    masks = np.zeros((len(FINDINGS), chest.size, chest.size), bool)
    air, added = chest.air, np.zeros_like(chest.air)
    if present[1]:
        fluid = _fluid(chest, random[1])
        masks[1] = (fluid > 0.45) & chest.lungs
        air = air * (1 - fluid)
    if present[2]:
        masks[2] = chest.heart_mask
    if present[3]:
        patch = _patch(chest, random[3], chest.lungs & ~masks[1])
        masks[3] = (patch > 0.18) & chest.lungs
        air = air * (1 - patch)
    if present[0]:
        added, masks[0] = _nodule(chest, random[0], chest.lungs & ~masks[1] & ~masks[3])
    return air, added, masks


def _fluid(chest: Chest, random: np.random.Generator) -> Array:
    """Share of the air that an effusion displaces: from one or both angles up to a meniscus."""
    has_fluid = ((True, False), (False, True), (True, True))[random.choice(3, p=(0.4, 0.4, 0.2))]
    fluid = np.zeros_like(chest.x)
    for lung, is_filled in zip(chest.sides, has_fluid, strict=True):
        level = lung.angle_y - random.uniform(0.20, 0.55)
        rise = random.uniform(0.08, 0.20)
        density = random.uniform(0.80, 1.0)
        climb = np.clip(lung.outward / lung.lateral, 0, 1.2) ** 4  # fluid creeps up along the chest wall
        surface = level + rise * (0.5 - climb)
        if is_filled:
            fluid += density * soft_step((chest.y - surface) / 0.022) * (lung.outward > 0)
    return fluid


def _patch(chest: Chest, random: np.random.Generator, allowed: Array) -> Array:
    """Share of the air that a consolidation displaces: a soft, uneven patch."""
    radius = random.uniform(0.15, 0.26)
    x, y, _ = _place(chest, random, allowed, 0.5 * radius)
    stretch, turn = random.uniform(0.75, 1.3), random.uniform(0, np.pi)
    along = (chest.x - x) * np.cos(turn) + (chest.y - y) * np.sin(turn)
    across = (chest.y - y) * np.cos(turn) - (chest.x - x) * np.sin(turn)
    texture = ndimage.gaussian_filter(random.standard_normal(chest.x.shape), chest.size / 48)
    texture = texture / texture.std()
    distance = np.hypot(along / stretch, across * stretch) / radius + 0.14 * texture
    strength = random.uniform(0.50, 0.80)
    return np.asarray(strength * soft_step((1 - distance) / 0.13) * np.clip(0.85 + 0.15 * texture, 0.4, 1))


def _nodule(chest: Chest, random: np.random.Generator, allowed: Array) -> tuple[Array, Array]:
    """Brightness that a round spot inside the seen lung adds, and its disc."""
    x, y, radius = _place(chest, random, allowed, random.uniform(0.050, 0.090))
    distance = np.hypot(chest.x - x, chest.y - y) / radius
    added = random.uniform(0.17, 0.28) * soft_step((1 - distance) / 0.16)
    return added, (distance < 1) & chest.lungs


def _place(chest: Chest, random: np.random.Generator, allowed: Array, radius: float) -> tuple[float, float, float]:
    """Centre of a disc within `allowed`, and its radius: smaller only where no room is left."""
    room = ndimage.distance_transform_edt(allowed) * 2 / chest.size
    radius = min(radius, 0.8 * float(room.max()))
    rows, columns = np.nonzero(room >= 1.2 * radius)
    choice = int(random.random() * len(rows))
    row, column = rows[choice], columns[choice]
    return float(chest.x[row, column]), float(chest.y[row, column]), radius


def _expose(tissue: Array, chest: Chest, random: np.random.Generator) -> Array:
    """Film: uneven beam, blur, side marker, gain, noise; brightness outside [0, 1] saturates."""
    scale = chest.size / 128
    tilt = random.uniform(-0.05, 0.05, 2)
    film = tissue * (1 + tilt[0] * chest.x + tilt[1] * chest.y)
    film = ndimage.gaussian_filter(film, random.uniform(0.5, 0.9) * scale)
    if random.random() < 0.7:
        film = film + _marker(chest.size, random)
    film = np.clip(film, 0, None) ** random.uniform(0.85, 1.2) * random.uniform(0.88, 1.12)
    film = film + random.uniform(0.0, 0.05)
    film = film + random.uniform(0.010, 0.025) * random.standard_normal(film.shape)
    mottle = ndimage.gaussian_filter(random.standard_normal(film.shape), 1.5 * scale)
    return np.asarray(np.clip(film + 0.010 * mottle / mottle.std(), 0, 1))


def _marker(size: int, random: np.random.Generator) -> Array:
    """Draw a bright letter near an upper corner; it says nothing about the findings."""
    side = "R" if random.random() < 0.5 else "L"
    letter = np.array([[mark == "1" for mark in row] for row in LETTERS[side]], float)
    letter = np.kron(letter, np.ones((max(size // 64, 1),) * 2))
    canvas = np.zeros((size, size))
    row = int(random.uniform(0.03, 0.12) * size)
    column = int(random.uniform(0.03, 0.10) * size)
    if side == "L":
        column = size - column - letter.shape[1]
    canvas[row : row + letter.shape[0], column : column + letter.shape[1]] = letter
    return canvas * random.uniform(0.5, 0.9)
