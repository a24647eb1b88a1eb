"""Named regions of an image: what they are, and what happens where they overlap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import DtypeError, RegionError, ShapeError

Overlap = Literal["keep", "first", "refuse"]


@dataclass(frozen=True, eq=False)
class Regions:
    """Named regions of one image, or of every image of a batch.

    Parameters
    ----------
    masks : ndarray of shape (R, *space), bool
        One mask per region; read-only.
    names : tuple of str
        R different names.
    note : str
        What a reader must know of them, such as that they come from a template and not from this image.
    """

    masks: Array
    names: tuple[str, ...]
    note: str = ""

    def __post_init__(self) -> None:
        masks = np.array(_as_masks(self.masks, "masks"))
        names = tuple(self.names)
        if len(masks) != len(names):
            raise ShapeError(f"{len(names)} names were given for {len(masks)} masks; name each region once")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise RegionError(f"the name {twice[0]!r} was given to {names.count(twice[0])} regions; names must differ")
        if not names:
            raise RegionError("there is no region; give at least one mask")
        masks.setflags(write=False)
        object.__setattr__(self, "masks", masks)
        object.__setattr__(self, "names", names)

    def __len__(self) -> int:
        """Return the number of regions."""
        return len(self.names)

    def __repr__(self) -> str:
        """One line: names, size, and the note."""
        shares = ", ".join(f"{name} {share:.0%}" for name, share in self.area_shares.items())
        return f"<Regions of {self.space}: {shares}{'; ' + self.note if self.note else ''}>"

    @property
    def space(self) -> tuple[int, ...]:
        """Shape of the image."""
        return tuple(self.masks.shape[1:])

    @property
    def area_shares(self) -> Mapping[str, float]:
        """Share of the image that each region covers."""
        covered = self.masks.reshape(len(self), -1).mean(axis=1)
        return MappingProxyType(dict(zip(self.names, map(float, covered), strict=True)))

    def __getitem__(self, name: str) -> Array:
        """Return the mask of one region.

        Raises
        ------
        RegionError
            There is no region of this name.
        """
        if name not in self.names:
            raise RegionError(f"there is no region {name!r}; there are {', '.join(self.names)}")
        mask: Array = self.masks[self.names.index(name)]
        return mask

    def only(self, *names: str) -> "Regions":
        """Take some regions, in the order of `names`.

        Raises
        ------
        RegionError
            There is no region of such a name.
        """
        return Regions(np.stack([self[name] for name in names]), names, self.note)

    def by_priority(self, *first: str) -> "Regions":
        """Cells that lie in several regions belong to the earliest alone.

        Parameters
        ----------
        *first : str
            Names that come before all others; the rest keep their order.
        """
        order = [*first, *(name for name in self.names if name not in first)]
        taken: Array = np.zeros(self.space, dtype=bool)
        masks: dict[str, Array] = {}
        for name in order:
            masks[name] = self[name] & ~taken
            taken |= masks[name]
        return Regions(np.stack([masks[name] for name in self.names]), self.names, self.note)

    def with_rest(self, name: str = "elsewhere") -> "Regions":
        """Add what lies in no region as a region."""
        elsewhere = ~np.asarray(self.masks.any(axis=0))
        return Regions(np.concatenate([self.masks, elsewhere[None]]), (*self.names, name), self.note)

    def resized(self, space: Sequence[int]) -> "Regions":
        """Masks of another size: each new cell takes the cell in which its centre lies.

        Parameters
        ----------
        space : sequence of int
            New sizes.

        Raises
        ------
        ShapeError
            Another number of axes.
        """
        if len(space) != len(self.space):
            raise ShapeError(f"regions of {len(self.space)} axes cannot be resized to {tuple(space)}")
        masks = self.masks
        for axis, (old, new) in enumerate(zip(self.space, space, strict=True), start=1):
            centres = ((np.arange(new) + 0.5) * old / new).astype(np.int64)
            masks = np.take(masks, np.minimum(centres, old - 1), axis=axis)
        return Regions(masks, self.names, self.note)


def from_masks(masks: Mapping[str, ArrayLike], *, overlap: Overlap = "keep", note: str = "") -> Regions:
    """Regions from one mask per name.

    Parameters
    ----------
    masks : mapping of str to array-like of shape (*space)
        Boolean, or numbers of which 0 is outside and another single value inside.
    overlap : str
        ``"keep"``: a cell may belong to several regions. ``"first"``: to the earliest alone. ``"refuse"``.
    note : str
        Kept with the regions.

    Raises
    ------
    RegionError
        Regions overlap and `overlap` is ``"refuse"``, or a mask holds several values.
    ShapeError
        Masks of different shapes.
    """
    arrays = [as_mask(mask, name) for name, mask in masks.items()]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise ShapeError(f"the masks have different shapes: {', '.join(map(str, sorted(shapes)))}")
    if not arrays:
        raise RegionError("there is no region; give at least one mask")
    regions = Regions(np.stack(arrays), tuple(masks), note)
    return settled(regions, overlap)


def settled(regions: Regions, overlap: Overlap) -> Regions:
    """Apply what was said of overlaps.

    Raises
    ------
    RegionError
        Regions overlap and `overlap` is ``"refuse"``, or it is not known.
    """
    if overlap == "first":
        return regions.by_priority()
    if overlap == "keep":
        return regions
    if overlap != "refuse":
        raise RegionError(f"overlap is 'keep', 'first' or 'refuse', got {overlap!r}")
    count = regions.masks.sum(axis=0)
    if (count > 1).any():
        cell = tuple(int(index) for index in np.argwhere(count > 1)[0])
        names = [name for name in regions.names if regions[name][cell]]
        raise RegionError(
            f"{int((count > 1).sum())} cells belong to several regions, the first, {cell}, to {' and '.join(names)}; "
            f"say overlap='first' to give each to the earliest, or 'keep'"
        )
    return regions


def from_labels(image: ArrayLike, names: Mapping[int, str], *, note: str = "") -> Regions:
    """Regions from a label image, one whole number per region.

    Parameters
    ----------
    image : array-like of shape (*space), whole numbers
    names : mapping of int to str
        Name of each label; labels that are not named belong to no region.
    note : str
        Kept with the regions.

    Raises
    ------
    DtypeError
        The image does not hold whole numbers.
    RegionError
        Two labels have one name.
    """
    twice = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
    if twice:
        raise RegionError(f"{twice[0]!r} names several labels; give each its own name, or unite them in the image")
    labels = np.asarray(image)
    if labels.dtype.kind not in "iub":
        raise DtypeError(f"a label image holds whole numbers, got {labels.dtype}")
    return from_masks({name: labels == label for label, name in names.items()}, note=note)


def as_mask(mask: ArrayLike, name: str) -> Array:
    """A mask from booleans, or from numbers of which 0 is outside and one other value inside.

    Raises
    ------
    DtypeError, RegionError
        It is neither.
    """
    array = np.asarray(mask)
    if array.dtype.kind not in "buif":
        raise DtypeError(f"the mask of {name!r} must hold booleans or numbers, got {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RegionError(f"the mask of {name!r} holds NaN or infinite values")
    values = np.unique(array)
    inside = values[values != 0]
    if len(inside) > 1:
        raise RegionError(
            f"the mask of {name!r} holds {len(inside)} values beside 0, such as {inside[0]} and {inside[1]}; "
            f"use from_labels for a label image, or compare with a threshold"
        )
    inside_it: Array = array != 0
    return inside_it


def _as_masks(masks: ArrayLike, name: str) -> Array:
    array = np.asarray(masks)
    if array.dtype.kind != "b":
        raise DtypeError(f"{name} must be boolean, got {array.dtype}; from_masks takes numbers")
    if array.ndim < 2:
        raise ShapeError(f"{name} must be (R, *space), got shape {array.shape}")
    return array
