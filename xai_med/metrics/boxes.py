"""A box from a map, with every choice named: threshold, of what, strict or not, and which neighbours touch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError, ShapeError
from xai_med.maps.finite import finite_floats

Of = Literal["raw", "positive", "range"]


@dataclass(frozen=True)
class Box:
    """A rectangle of an image.

    Parameters
    ----------
    x, y : float
        Its corner, in pixels to the right and down from the outer corner of the first pixel.
    width, height : float
        Above zero; the box of one pixel is 1 x 1.
    """

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        if not (self.width > 0 and self.height > 0):
            raise SettingError(f"a box has a width and a height above zero, got {self.width} x {self.height}")

    @property
    def area(self) -> float:
        """In pixels."""
        return self.width * self.height

    def iou(self, other: "Box") -> float:
        """Intersection over union of two boxes."""
        wide = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        high = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        common = max(wide, 0.0) * max(high, 0.0)
        return common / (self.area + other.area - common)

    def mask(self, shape: tuple[int, int]) -> Array:
        """Pixels of an image of (H, W) whose centres lie in the box."""
        rows, columns = (np.arange(size) + 0.5 for size in shape)
        inside_rows = (rows >= self.y) & (rows < self.y + self.height)
        inside: Array = inside_rows[:, None] & ((columns >= self.x) & (columns < self.x + self.width))[None]
        return inside


@dataclass(frozen=True)
class BoxRule:
    """How a box is made of a map.

    Parameters
    ----------
    threshold : float or "otsu"
        Share of the largest value that a pixel must reach; or Otsu's threshold of the map in 256 grey levels between
        its extremes.
    of : str
        ``"raw"``: the map as it is. ``"positive"``: without its negative part. ``"range"``: scaled from 0 to 1, where
        an offset of the whole map does not count.
    is_strict : bool
        Whether a pixel at the threshold is left out.
    connectivity : int
        4: pixels that share a side touch. 8: those that share a corner too.
    """

    threshold: float | Literal["otsu"] = 0.2
    of: Of = "positive"
    is_strict: bool = True
    connectivity: Literal[4, 8] = 8

    def __post_init__(self) -> None:
        if self.threshold != "otsu" and not 0 <= self.threshold < 1:
            raise SettingError(f"threshold is 'otsu' or at least 0 and below 1, got {self.threshold!r}")
        if self.of not in _VIEWS:
            raise SettingError(f"of is one of {', '.join(_VIEWS)}, got {self.of!r}")
        if self.connectivity not in (4, 8):
            raise SettingError(f"connectivity is 4 or 8, got {self.connectivity!r}")


def _range(values: Array) -> Array:
    spread = np.ptp(values)
    return (values - values.min()) / spread if spread > 0 else np.zeros_like(values)


_VIEWS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {"raw": lambda values: values, "positive": lambda values: np.maximum(values, 0), "range": _range}
)
BOX_RULES: Mapping[str, BoxRule] = MappingProxyType(
    {
        "cam": BoxRule(0.2, "positive"),
        "grad_cam": BoxRule(0.15, "positive"),
        "otsu": BoxRule("otsu", "range"),
    }
)
"""Zhou et al. 2016, section 3.2; Selvaraju et al. 2017, section 4.1; CheXlocalize, Saporta et al. 2022."""


def mask_from_map(values: ArrayLike, rule: BoxRule | str = "cam") -> Array:
    """Pixels of a map that a rule keeps.

    Parameters
    ----------
    values : array-like of shape (H, W)
        One map.
    rule : BoxRule or str
        One of `BOX_RULES`, or a value.

    Returns
    -------
    ndarray of shape (H, W), bool
        Empty for a map that is nowhere positive, or constant under ``of="range"``.

    References
    ----------
    Zhou et al. 2016, arXiv:1512.04150, section 3.2 (``"cam"``); Selvaraju et al. 2017, arXiv:1610.02391, section 4.1
    (``"grad_cam"``); Saporta et al. 2022, doi:10.1038/s42256-022-00536-x, with the threshold of Otsu 1979,
    doi:10.1109/TSMC.1979.4310076 (``"otsu"``).
    """
    chosen = _rule(rule)
    seen = _VIEWS[chosen.of](_map(values))
    if chosen.threshold == "otsu":
        return _above_otsu(seen)
    largest = seen.max()
    if largest <= 0:
        return np.zeros(seen.shape, dtype=bool)
    level = chosen.threshold * largest
    kept: Array = seen > level if chosen.is_strict else seen >= level
    return kept


def box_from_map(values: ArrayLike, rule: BoxRule | str = "cam") -> Box | None:
    """Box around the largest connected part of what a rule keeps; of equal parts the one that comes first.

    Parameters
    ----------
    values, rule
        As in `mask_from_map`.

    Returns
    -------
    Box or None
        None where nothing is kept.

    References
    ----------
    Zhou et al. 2016, arXiv:1512.04150, section 3.2 (``"cam"``); Selvaraju et al. 2017, arXiv:1610.02391, section 4.1
    (``"grad_cam"``); Saporta et al. 2022, doi:10.1038/s42256-022-00536-x, with the threshold of Otsu 1979,
    doi:10.1109/TSMC.1979.4310076 (``"otsu"``).
    """
    from scipy import ndimage

    chosen = _rule(rule)
    kept = mask_from_map(values, chosen)
    neighbours = ndimage.generate_binary_structure(2, 2 if chosen.connectivity == 8 else 1)
    parts, count = ndimage.label(kept, structure=neighbours)
    if not count:
        return None
    sizes = np.bincount(parts.ravel())[1:]
    rows, columns = ndimage.find_objects(parts)[int(sizes.argmax())]
    return Box(
        float(columns.start),
        float(rows.start),
        float(columns.stop - columns.start),
        float(rows.stop - rows.start),
    )


def _above_otsu(values: Array) -> Array:
    """Above the threshold that parts 256 grey levels into the two classes with the least variance within.

    References
    ----------
    Otsu 1979, doi:10.1109/TSMC.1979.4310076.
    """
    grey = np.floor(255 * _range(values)).astype(np.int64)
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)
    below = counts.cumsum()
    weighted = (counts * np.arange(256)).cumsum()
    above = below[-1] - below
    is_split = (below > 0) & (above > 0)
    if not is_split.any():
        return np.zeros(values.shape, dtype=bool)
    means_below = weighted / np.where(below == 0, 1, below)
    means_above = (weighted[-1] - weighted) / np.where(above == 0, 1, above)
    between = np.where(is_split, below * above * (means_below - means_above) ** 2, -1)
    kept: Array = grey > int(between.argmax())
    return kept


def _rule(rule: BoxRule | str) -> BoxRule:
    if isinstance(rule, BoxRule):
        return rule
    if rule not in BOX_RULES:
        raise SettingError(f"rule is one of {', '.join(BOX_RULES)}, or a BoxRule; got {rule!r}")
    return BOX_RULES[rule]


def _map(values: ArrayLike) -> Array:
    array = finite_floats(values, "the map").astype(np.float64)
    if array.ndim != 2:
        raise ShapeError(f"the map must be (H, W), got shape {array.shape}")
    return array
