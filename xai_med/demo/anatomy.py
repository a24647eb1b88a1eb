"""The normal chest behind the phantoms: lungs, heart, bones, vessels, as brightness without exposure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import ndimage

from xai_med.backend.tensors import Array

ToPixels: TypeAlias = Callable[[Array, Array], tuple[Array, Array]]


@dataclass(frozen=True)
class Lung:
    """One lung: its share of air and the lines that bound it.

    `outward` is the distance from the midline towards this side, in half image widths.
    """

    side: int
    air: Array
    outward: Array
    lateral: Array
    angle_y: float  # height of the costophrenic angle; y points downwards


@dataclass(frozen=True)
class Chest:
    """A patient without lung findings, in coordinates that move with the body (x, y in about [-1, 1])."""

    x: Array
    y: Array
    to_pixels: ToPixels
    sides: tuple[Lung, Lung]
    body: Array
    heart: Array
    heart_mask: Array
    centre: Array
    air: Array
    lungs: Array
    rib_spacing: float
    rib_phase: float
    rib_slope: float

    @property
    def size(self) -> int:
        """Pixels along each side."""
        return int(self.x.shape[0])


def soft_step(distance: Array) -> Array:
    """0 far below zero, 1 far above, 1/2 at zero: an edge of unit softness."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * distance))


def draw_chest(
    random: np.random.Generator, heart_random: np.random.Generator, size: int, *, has_large_heart: bool
) -> Chest:
    """Draw a patient; the heart has a generator of its own, so that its size changes nothing else."""
    x, y, to_pixels = _pose(random, size)
    edge = random.uniform(0.010, 0.018)
    base = random.uniform(0.44, 0.54)
    width = random.uniform(0.62, 0.72)
    apex = random.uniform(-0.78, -0.70)
    depth = random.uniform(0.17, 0.25)
    left_lower = random.uniform(0.02, 0.08)
    sides = (
        _lung(-1, x, y, base, width, apex, depth, edge),
        _lung(+1, x, y, base + left_lower, width, apex, depth, edge),
    )
    ratio = heart_random.uniform(0.0, 1.0)
    ratio = 0.57 + 0.11 * ratio if has_large_heart else 0.39 + 0.08 * ratio
    heart = _heart(heart_random, x, y, ratio * 2 * width, base, edge)
    knob = np.hypot((x - 0.09) / 0.10, (y + 0.27) / 0.10)
    column = soft_step((0.115 + 0.05 * np.abs(y) - np.abs(x)) / 0.02)
    centre = np.maximum(column, soft_step((1 - knob) / 0.12))  # spine, great vessels and the aortic knob
    air = (sides[0].air + sides[1].air) * (1 - heart) * (1 - centre)
    neck, shoulder = random.uniform(0.20, 0.26), random.uniform(-0.80, -0.70)
    half_width = neck + (width + 0.17 - neck) * soft_step((y - shoulder) / 0.045)
    half_width = half_width + 0.14 * soft_step((y - shoulder) / 0.03) * soft_step((-0.35 - y) / 0.12)
    return Chest(
        x=x,
        y=y,
        to_pixels=to_pixels,
        sides=sides,
        body=soft_step((half_width - np.abs(x)) / 0.02),
        heart=heart,
        heart_mask=(heart > 0.5) & (y < base + 0.10),
        centre=centre,
        air=air,
        lungs=air > 0.5,
        rib_spacing=random.uniform(0.135, 0.165),
        rib_phase=random.uniform(0, 1),
        rib_slope=random.uniform(0.25, 0.45),
    )


def _pose(random: np.random.Generator, size: int) -> tuple[Array, Array, ToPixels]:
    """Body coordinates of every pixel, and the way back from body coordinates to pixels."""
    angle = np.deg2rad(random.uniform(-4, 4))
    scale = random.uniform(0.93, 1.07) * np.array([random.uniform(0.96, 1.04), 1.0])
    shift = random.uniform(-0.06, 0.06, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    axis = (np.arange(size) + 0.5) * 2 / size - 1
    grid = np.stack(np.meshgrid(axis - shift[0], axis - shift[1]), axis=-1)
    body = grid @ turn / scale

    def to_pixels(x: Array, y: Array) -> tuple[Array, Array]:
        film = turn @ (np.stack([x, y]) * scale[:, None]) + shift[:, None]
        columns, rows = (film + 1) * size / 2 - 0.5
        return rows, columns

    return body[..., 0], body[..., 1], to_pixels


def _lung(side: int, x: Array, y: Array, base: float, width: float, apex: float, depth: float, edge: float) -> Lung:
    outward = side * x
    roundness = np.sqrt(1 - np.clip((0.3 - y) / (0.3 - apex), 0, 1) ** 2.4)
    lateral = 0.30 + (width - 0.30) * roundness
    medial = 0.30 - 0.24 * roundness
    dome = base + depth * ((outward - 0.28) / (width - 0.28)) ** 2
    within = soft_step((lateral - outward) / edge) * soft_step((outward - medial) / edge)
    return Lung(side, within * soft_step((dome - y) / edge), outward, lateral, angle_y=base + depth)


def _heart(random: np.random.Generator, x: Array, y: Array, width: float, base: float, edge: float) -> Array:
    height = random.uniform(0.27, 0.31) + 0.08 * (width - 0.6)
    lean = random.uniform(0.25, 0.45)  # the apex points to the patient's left and down
    half = np.sqrt((width / 2) ** 2 - (lean * height) ** 2)
    centre_x, centre_y = 0.19 * width + random.uniform(-0.01, 0.01), base + 0.04 - 0.75 * height
    radius = np.hypot((x - centre_x - lean * (y - centre_y)) / half, (y - centre_y) / height)
    return np.asarray(soft_step((1 - radius) * half / edge))


def radiograph(chest: Chest, air: Array, added: Array, random: np.random.Generator) -> Array:
    """Brightness before exposure: soft tissue, less air, plus bone, vessels and what was added."""
    x, y = chest.x, chest.y
    tissue = 0.60 + 0.10 * soft_step((y - 0.55) / 0.1) - 0.08 * soft_step((-0.7 - y) / 0.05)
    tissue = tissue + 0.07 * chest.heart + 0.05 * chest.centre - 0.46 * air * (1 - 0.12 * y)
    tissue = tissue + 0.5 * _vessels(chest, random) * air + added
    bubble_x, bubble_y = random.uniform(0.22, 0.38), chest.sides[1].angle_y + random.uniform(0.0, 0.08)
    bubble = soft_step((1 - np.hypot((x - bubble_x) / 0.13, (y - bubble_y) / 0.06)) / 0.2)
    tissue = tissue - random.uniform(0.0, 0.14) * bubble * (1 - air)
    trachea = soft_step((0.035 - np.abs(x - 0.01)) / 0.012) * soft_step((-0.22 - y) / 0.03)
    tissue = tissue - 0.12 * trachea
    return np.asarray(chest.body * (tissue + _bones(chest)))


def _bones(chest: Chest) -> Array:
    """Spine, posterior and anterior ribs, clavicles."""
    y, outward = chest.y, np.abs(chest.x)
    discs = np.cos(2 * np.pi * (y / 0.125 + chest.rib_phase))
    spine = soft_step((0.075 - outward) / 0.012) * (0.08 + 0.025 * np.tanh(2 * discs))
    lateral = np.maximum(chest.sides[0].lateral, chest.sides[1].lateral)
    cage = soft_step((lateral + 0.03 - outward) / 0.015) * soft_step((outward - 0.06) / 0.01)
    cage = cage * soft_step((chest.sides[0].angle_y - y) / 0.03) * soft_step((y + 0.80) / 0.02)
    posterior = (y - chest.rib_slope * outward**1.6 + 0.12 * outward) / chest.rib_spacing + chest.rib_phase
    anterior = (y + 0.55 * outward + 0.25 * (outward - 0.4) ** 2) / (1.1 * chest.rib_spacing)
    in_front = soft_step((outward - 0.22) / 0.04)  # anterior ribs end in cartilage, which is not seen
    bands = 0.060 * _band(posterior, 0.24) + 0.030 * _band(anterior, 0.26) * in_front
    height = -0.56 - 0.13 * (outward - 0.1) + 0.05 * np.sin(6 * outward)
    clavicle = soft_step((0.035 - np.abs(y - height)) / 0.008)
    clavicle = clavicle * soft_step((outward - 0.07) / 0.01) * soft_step((0.74 - outward) / 0.02)
    return np.asarray(spine + bands * cage + 0.11 * clavicle)


def _band(phase: Array, half_width: float) -> Array:
    """Bands of unit period around whole phases."""
    return np.asarray(soft_step((half_width - np.abs(phase - np.round(phase))) / 0.05))


def _vessels(chest: Chest, random: np.random.Generator) -> Array:
    """Hilar shadows and the branches that leave them; some are seen end on, as small dots."""
    sigma = 0.9 * chest.size / 128
    steps = np.linspace(0, 1, chest.size // 2)
    taper = np.minimum(steps / 0.25, 1) * (1 - 0.8 * steps)  # branches leave from all over the hilum
    canvas = np.zeros_like(chest.x)
    shadows = np.zeros_like(chest.x)
    for lung in chest.sides:
        start_x, start_y = lung.side * random.uniform(0.13, 0.18), random.uniform(-0.12, 0.0)
        shadow = np.hypot((chest.x - start_x) / 0.09, (chest.y - start_y) / 0.15)
        shadows += random.uniform(0.15, 0.35) * np.exp(-(shadow**2))
        for angle in np.deg2rad(np.linspace(-75, 80, 8) + random.uniform(-9, 9, 8)):
            directions = angle + random.uniform(-0.25, 0.25) * steps
            length = random.uniform(0.30, 0.58)
            x = start_x + lung.side * length * steps * np.cos(directions)
            y = start_y + length * steps * np.sin(directions)
            _splat(canvas, *chest.to_pixels(x, y), length * taper * sigma)
        count = random.integers(1, 4)
        x = start_x + lung.side * random.uniform(0.03, 0.22, count)
        y = start_y + random.uniform(-0.2, 0.2, count)
        _splat(canvas, *chest.to_pixels(x, y), np.full(count, 1.6 * sigma**2))
    return np.asarray(ndimage.gaussian_filter(canvas, sigma) + shadows)


def _splat(canvas: Array, rows: Array, columns: Array, weights: Array) -> None:
    """Add points to a canvas that the caller owns; those outside the film are lost, as on film."""
    row, column = np.round(rows).astype(np.int64), np.round(columns).astype(np.int64)
    inside = (row >= 0) & (row < canvas.shape[0]) & (column >= 0) & (column < canvas.shape[1])
    np.add.at(canvas, (row[inside], column[inside]), weights[inside])
