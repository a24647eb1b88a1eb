"""An anatomical template for frontal chest radiographs, for images without masks of their own."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import RegionError, ShapeError
from xai_med.regions.masks import Regions, as_mask
from xai_med.regions.shapes import polygons

NOTE = "from a template of a frontal chest radiograph, not from this image; approximate"

# Outlines (x, y) in units of the image, of an upright frontal radiograph that shows the chest from the clavicles to the
# diaphragm. Right and left are the patient's: the patient's right lung lies on the viewer's left.
_RIGHT_LUNG = (
    (0.36, 0.13), (0.42, 0.20), (0.435, 0.35), (0.42, 0.50), (0.41, 0.62), (0.40, 0.74),
    (0.30, 0.72), (0.17, 0.82), (0.13, 0.70), (0.14, 0.50), (0.18, 0.32), (0.26, 0.18),
)  # fmt: skip
_LEFT_LUNG = (
    (0.64, 0.13), (0.58, 0.20), (0.565, 0.35), (0.60, 0.48), (0.68, 0.62), (0.72, 0.74),
    (0.78, 0.76), (0.85, 0.83), (0.87, 0.70), (0.86, 0.50), (0.82, 0.32), (0.74, 0.18),
)  # fmt: skip
_MEDIASTINUM = (
    (0.42, 0.12), (0.58, 0.12), (0.565, 0.35), (0.60, 0.48), (0.68, 0.62), (0.72, 0.74),
    (0.40, 0.74), (0.41, 0.62), (0.42, 0.50), (0.435, 0.35),
)  # fmt: skip
_LUNGS: Mapping[str, tuple[tuple[float, float], ...]] = MappingProxyType({"right": _RIGHT_LUNG, "left": _LEFT_LUNG})
ZONES = ("upper", "middle", "lower")


def chest_template(space: Sequence[int]) -> Regions:
    """Lung zones by side, and the mediastinum with the heart, of a typical frontal chest radiograph.

    A template says where a region usually lies. It knows nothing of this image: of its field of view, its rotation, or
    a patient's anatomy. Align it with lung masks where there are any (`aligned_template`).

    Parameters
    ----------
    space : sequence of int
        (H, W) of the image.

    Returns
    -------
    Regions
        ``"right upper zone"`` to ``"left lower zone"``, by the patient's sides, each a third of its lung's height, and
        ``"mediastinum"``. Their `note` says that they come from a template.
    """
    height, width = _size(space)
    scale = np.array([width, height])
    outlines = {side: np.array(outline) * scale for side, outline in _LUNGS.items()}
    lungs = polygons(space, outlines)
    middle = polygons(space, {"mediastinum": np.array(_MEDIASTINUM) * scale})["mediastinum"]
    masks = {f"{side} {zone} zone": mask for side in _LUNGS for zone, mask in _thirds(lungs[side]).items()}
    masks["mediastinum"] = middle & ~lungs.masks.any(axis=0)
    return Regions(np.stack(list(masks.values())), tuple(masks), NOTE)


def aligned_template(right_lung: Array, left_lung: Array) -> Regions:
    """The same regions, fitted to masks of the two lungs.

    Zones are thirds of each lung's own height; the mediastinum is what lies between the lungs, row by row.

    Parameters
    ----------
    right_lung, left_lung : ndarray of shape (H, W), bool
        By the patient's sides: the right lung lies on the viewer's left.

    Raises
    ------
    RegionError
        A mask is empty, or the lungs lie the wrong way round.
    """
    right, left = as_mask(right_lung, "right lung"), as_mask(left_lung, "left lung")
    if right.shape != left.shape or right.ndim != 2:
        raise ShapeError(f"the lungs' masks must be (H, W) of one size, got {right.shape} and {left.shape}")
    for side, mask in (("right", right), ("left", left)):
        if not mask.any():
            raise RegionError(f"the mask of the {side} lung is empty")
    centres = [float(np.nonzero(mask)[1].mean()) for mask in (right, left)]
    if centres[0] >= centres[1]:
        raise RegionError(
            f"the right lung's mask lies to the right of the left lung's (columns {centres[0]:.0f} and "
            f"{centres[1]:.0f}); right is the patient's right, on the viewer's left in a frontal radiograph"
        )
    sides = (("right", right), ("left", left))
    masks = {f"{side} {zone} zone": mask for side, lung in sides for zone, mask in _thirds(lung).items()}
    masks["mediastinum"] = _between(right, left)
    note = "lung zones are thirds of each lung's height, the mediastinum what lies between the lungs"
    return Regions(np.stack(list(masks.values())), tuple(masks), note)


def split_lungs(lungs: Array) -> tuple[Array, Array]:
    """Right and left lung of one mask of both: its two largest parts, by the patient's sides.

    Raises
    ------
    RegionError
        The mask has no two separate parts of comparable size.
    """
    from scipy import ndimage

    parts, count = ndimage.label(as_mask(lungs, "lungs"))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    order = np.argsort(sizes)[::-1][:2] + 1
    if count < 2 or sizes[order[1] - 1] < 0.2 * sizes[order[0] - 1]:
        raise RegionError("the mask does not fall into two lungs; give a mask of each")
    first, second = (parts == number for number in order)
    if np.nonzero(first)[1].mean() < np.nonzero(second)[1].mean():
        return first, second
    return second, first


def _thirds(lung: Array) -> dict[str, Array]:
    rows = np.flatnonzero(lung.any(axis=1))
    edges = np.linspace(rows[0], rows[-1] + 1, len(ZONES) + 1).round().astype(int) if len(rows) else [0] * 4
    zones = {}
    for zone, start, stop in zip(ZONES, edges[:-1], edges[1:], strict=True):
        mask = np.zeros_like(lung)
        mask[start:stop] = lung[start:stop]
        zones[zone] = mask
    return zones


def _between(right: Array, left: Array) -> Array:
    """Cells to the right of all of one lung and to the left of all of the other, in rows that both reach."""
    columns = np.arange(right.shape[1])
    inner_right = np.where(right, columns, -1).max(axis=1)
    inner_left = np.where(left, columns, right.shape[1]).min(axis=1)
    both = np.asarray(right.any(axis=1) & left.any(axis=1))
    between: Array = both[:, None] & (columns > inner_right[:, None]) & (columns < inner_left[:, None])
    return between


def _size(space: Sequence[int]) -> tuple[int, int]:
    if len(space) != 2:
        raise ShapeError(f"the template is of an image (H, W), got {tuple(space)}")
    return int(space[0]), int(space[1])
