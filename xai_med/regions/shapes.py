"""Regions from geometry: grids, boxes and polygons."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import RegionError, ShapeError
from xai_med.regions.masks import Overlap, Regions, from_masks


def grid(space: Sequence[int], parts: Sequence[int], *, names: Sequence[str] | None = None) -> Regions:
    """Divide an image into equal boxes.

    Each axis is cut at multiples of ``size // parts``; what is left over goes to the last box, as in the notebook on
    chest radiographs (224 columns in thirds: 74, 74, 76).

    Parameters
    ----------
    space : sequence of int
        Shape of the image.
    parts : sequence of int
        Number of boxes along each axis, such as (1, 3) for three vertical bands.
    names : sequence of str, optional
        Row by row; ``"row 1, column 2"`` by default.

    Raises
    ------
    RegionError
        More boxes than cells along an axis, or another number of names.
    ShapeError
        Another number of axes.
    """
    if len(parts) != len(space):
        raise ShapeError(f"parts {tuple(parts)} do not fit an image of shape {tuple(space)}; give one number per axis")
    if any(not 1 <= count <= size for count, size in zip(parts, space, strict=True)):
        raise RegionError(f"an image of shape {tuple(space)} cannot be divided into {tuple(parts)} boxes")
    edges = [
        [*(number * (size // count) for number in range(count)), size] for count, size in zip(parts, space, strict=True)
    ]
    masks = []
    for place in np.ndindex(*parts):
        mask = np.zeros(tuple(space), dtype=bool)
        mask[tuple(slice(edge[number], edge[number + 1]) for edge, number in zip(edges, place, strict=True))] = True
        masks.append(mask)
    given = tuple(names) if names is not None else tuple(_place_name(place) for place in np.ndindex(*parts))
    if len(given) != len(masks):
        raise RegionError(f"{len(given)} names were given for {len(masks)} boxes")
    return Regions(np.stack(masks), given)


def _place_name(place: tuple[int, ...]) -> str:
    words = ("row", "column") if len(place) == 2 else ("slice", "row", "column")[-len(place) :]
    return ", ".join(f"{word} {number + 1}" for word, number in zip(words, place, strict=True))


def boxes(
    space: Sequence[int],
    corners: Mapping[str, Sequence[float]],
    *,
    overlap: Overlap = "keep",
) -> Regions:
    """Regions from boxes.

    Parameters
    ----------
    space : sequence of int
        Shape of the image, (H, W).
    corners : mapping of str to (x, y, width, height)
        In pixels, x to the right and y down from the outer corner of the first pixel, as radiologists' boxes are given.
        A pixel belongs to a box when its centre does.
    overlap : str
        As in `from_masks`.

    Raises
    ------
    RegionError
        A box has no area, or lies partly outside of the image.
    """
    height, width = _two_axes(space)
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    masks = {}
    for name, (x, y, wide, high) in corners.items():
        if not (wide > 0 and high > 0):
            raise RegionError(f"the box {name!r} is {wide} x {high}; give (x, y, width, height), both sizes above zero")
        if x < 0 or y < 0 or x + wide > width or y + high > height:
            raise RegionError(
                f"the box {name!r} reaches from ({x}, {y}) to ({x + wide}, {y + high}), outside of an image of "
                f"{width} x {height} (width x height); were its corners given for another size?"
            )
        inside_rows = (rows >= y) & (rows < y + high)
        masks[name] = inside_rows[:, None] & ((columns >= x) & (columns < x + wide))[None]
    return from_masks(masks, overlap=overlap)


def polygons(space: Sequence[int], outlines: Mapping[str, ArrayLike], *, overlap: Overlap = "keep") -> Regions:
    """Regions from outlines.

    Parameters
    ----------
    space : sequence of int
        Shape of the image, (H, W).
    outlines : mapping of str to array-like of shape (P, 2)
        Corners (x, y) in pixels, x to the right and y down from the outer corner of the first pixel. A pixel belongs to
        a region when its centre lies inside by the even-odd rule.
    overlap : str
        As in `from_masks`.

    Raises
    ------
    ShapeError
        An outline is not (P, 2) with at least three corners.
    RegionError
        A corner is NaN, or lies outside of the image.
    """
    height, width = _two_axes(space)
    masks = {
        name: _inside(np.asarray(outline, dtype=np.float64), height, width, name) for name, outline in outlines.items()
    }
    return from_masks(masks, overlap=overlap)


def _inside(corners: Array, height: int, width: int, name: str) -> Array:
    """Even-odd rule: a point is inside where a ray to the right crosses the outline an odd number of times."""
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise ShapeError(f"the outline {name!r} must be (P, 2) with at least three corners, got {corners.shape}")
    if not np.isfinite(corners).all():
        raise RegionError(f"the outline {name!r} has a corner that is NaN or infinite")
    if (corners < 0).any() or (corners > (width, height)).any():
        far = corners[((corners < 0) | (corners > (width, height))).any(axis=1)][0]
        raise RegionError(
            f"the outline {name!r} has a corner at ({far[0]:g}, {far[1]:g}), outside of an image of {width} x {height} "
            f"(width x height); was it drawn on another size?"
        )
    y, x = np.arange(height)[:, None] + 0.5, np.arange(width)[None] + 0.5
    inside = np.zeros((height, width), dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (y0 <= y) != (y1 <= y)
        inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


def _two_axes(space: Sequence[int]) -> tuple[int, int]:
    if len(space) != 2:
        raise ShapeError(f"boxes and outlines are for images (H, W), got {tuple(space)}")
    return int(space[0]), int(space[1])
