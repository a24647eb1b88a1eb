"""How much of a map lies in each region."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from xai_med._spreadsheet import literal
from xai_med.backend.tensors import Array
from xai_med.errors import RegionError, SettingError, ShapeError
from xai_med.maps.finite import finite_floats
from xai_med.regions.masks import Regions

if TYPE_CHECKING:
    from xai_med.explanation import Explanation

Kind = Literal["mean", "sum", "share", "enrichment", "max"]
Sign = Literal["positive", "negative", "absolute", "signed"]

_SIGNS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "positive": lambda maps: np.maximum(maps, 0),
        "negative": lambda maps: np.maximum(-maps, 0),
        "absolute": np.abs,
        "signed": lambda maps: maps,
    }
)
_RELATIVE = ("share", "enrichment")
EMPTY, ZERO = "the region is empty", "the map is zero everywhere"


@dataclass(frozen=True, eq=False)
class RegionScores:
    """Scores of regions, for each image and each explained class.

    Parameters
    ----------
    values : ndarray of shape (N, K, R), float64
        NaN where a score does not exist.
    kind, sign : str
        What was measured, of which part of the map.
    regions : tuple of str
        R names.
    targets : tuple of tuple of str
        Per image the K explained classes.
    area_shares : ndarray of shape (N, R)
        Share of the image that each region covers.
    notes : tuple of str
        Of each image's regions, such as that they come from a template.
    """

    values: Array
    kind: Kind
    sign: Sign
    regions: tuple[str, ...]
    targets: tuple[tuple[str, ...], ...]
    area_shares: Array
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("values", "area_shares"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __repr__(self) -> str:
        """One line."""
        missing = int(np.isnan(self.values).sum())
        return (
            f"<RegionScores {self.kind} ({self.sign}) of {', '.join(self.regions)} for {len(self.values)} images"
            f"{f'; {missing} do not exist' if missing else ''}>"
        )

    @property
    def note(self) -> str:
        """What a reader must know of the regions; with how many images it holds for, where not for all."""
        counts = Counter(note for note in self.notes if note)
        images = len(self.values)
        return "; ".join(
            note if count == images else f"{note} ({count} of {images} images)" for note, count in counts.items()
        )

    def reason(self, image: int, region: str, *, score: int = 0) -> str:
        """Why a score does not exist; ``""`` where it does.

        Parameters
        ----------
        image : int
            Of the batch.
        region : str
            Name.
        score : int
            Which explained class.
        """
        place = self.index(region)
        if not np.isnan(self.values[image, score, place]):
            return ""
        return EMPTY if self.area_shares[image, place] == 0 else ZERO

    def index(self, region: str) -> int:
        """Position of a region.

        Raises
        ------
        RegionError
            There is none of this name.
        """
        if region not in self.regions:
            raise RegionError(f"there is no region {region!r}; there are {', '.join(self.regions)}")
        return self.regions.index(region)

    def of(self, region: str, *, score: int = 0) -> Array:
        """Scores of one region over all images, shape (N,)."""
        values: Array = self.values[:, score, self.index(region)]
        return values

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """One row per image, class and region, for tables."""
        for n, k, r in np.ndindex(*self.values.shape):
            name = self.regions[r]
            yield {
                "image": n,
                "target": self.targets[n][k],
                "region": name,
                "kind": self.kind,
                "sign": self.sign,
                "score": float(self.values[n, k, r]),
                "area_share": float(self.area_shares[n, r]),
                "reason": self.reason(n, name, score=k),
                "note": self.notes[n] if self.notes else "",
            }

    def to_csv(self, path: str | PathLike[str]) -> Path:
        """Write `rows` to a file and return its path; names that a spreadsheet would run get an apostrophe."""
        path = Path(path)
        rows = list(self.rows())
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(
                {key: literal(value) if isinstance(value, str) else value for key, value in row.items()} for row in rows
            )
        return path


def score_regions(
    maps: "Explanation | ArrayLike",
    regions: Regions | Sequence[Regions],
    *,
    kind: Kind = "mean",
    sign: Sign | None = None,
) -> RegionScores:
    """Measure how much of each map lies in each region.

    Parameters
    ----------
    maps : Explanation or array-like of shape (N, K, *space)
        Maps, not normalised: a division by each map's own maximum would make images incomparable.
    regions : Regions or sequence of Regions
        Of every image alike, or one of each image, with the same names. Of the maps' size; see `Regions.resized`.
    kind : str
        ``"mean"`` over the region's cells, ``"sum"``, ``"share"`` of the map's total, ``"enrichment"``, the share
        divided by the region's share of the area (1 is what chance gives), or ``"max"``.
    sign : str, optional
        Of a map with negative values: ``"positive"``, ``"negative"`` or ``"absolute"`` part, or ``"signed"`` as it is,
        of which no share exists. Must be given where a map is negative anywhere.

    Returns
    -------
    RegionScores
        NaN where a region is empty, and for shares of a map that is zero everywhere.

    Raises
    ------
    SettingError
        A map is negative somewhere and `sign` was not given, or shares of signed values were asked for.
    ShapeError
        Maps and regions differ in size or number.

    References
    ----------
    Mean per region: Sümer et al. 2023, PMLR 219:712-736. Enrichment: Kohlbrenner et al. 2020, arXiv:1910.09840,
    equation 5 (weighted localisation).
    """
    values, targets = _maps_of(maps)
    each = _regions_of(regions, len(values), values.shape[2:])
    chosen = _sign_for(values, kind, sign)
    parts = _SIGNS[chosen](values.astype(np.float64)).reshape(*values.shape[:2], -1)
    masks = np.stack([one.masks.reshape(len(one), -1) for one in each])
    return RegionScores(
        values=_KINDS[kind](parts, masks),
        kind=kind,
        sign=chosen,
        regions=each[0].names,
        targets=targets,
        area_shares=masks.mean(axis=2),
        notes=tuple(one.note for one in each),
    )


def _sums(parts: Array, masks: Array) -> Array:
    sums: Array = np.einsum("nkp,nrp->nkr", parts, masks.astype(np.float64))
    return _unless(np.asarray(masks.any(axis=2)), sums)


def _means(parts: Array, masks: Array) -> Array:
    cells = masks.sum(axis=2)
    return _sums(parts, masks) / np.where(cells == 0, 1, cells)[:, None]


def _shares(parts: Array, masks: Array) -> Array:
    total = parts.sum(axis=2)[:, :, None]
    shares = _sums(parts, masks) / np.where(total == 0, 1, total)
    return np.where(total == 0, np.nan, shares)


def _enrichments(parts: Array, masks: Array) -> Array:
    area = masks.mean(axis=2)
    return _shares(parts, masks) / np.where(area == 0, 1, area)[:, None]


def _maxima(parts: Array, masks: Array) -> Array:
    largest = np.where(masks[:, None], parts[:, :, None], -np.inf).max(axis=3)
    return _unless(np.asarray(masks.any(axis=2)), largest)


def _unless(exists: Array, scores: Array) -> Array:
    return np.where(exists[:, None], scores, np.nan)


_KINDS: Mapping[str, Callable[[Array, Array], Array]] = MappingProxyType(
    {"mean": _means, "sum": _sums, "share": _shares, "enrichment": _enrichments, "max": _maxima}
)


def _maps_of(maps: Any) -> tuple[Array, tuple[tuple[str, ...], ...]]:
    found = getattr(maps, "maps", maps)
    values = finite_floats(found, "maps")
    if values.ndim < 3:
        raise ShapeError(f"maps must be (N, K, *space), got shape {values.shape}")
    targets = getattr(maps, "targets", None)
    if targets is None:
        targets = tuple(tuple(f"map {k}" for k in range(values.shape[1])) for _ in values)
    return values, targets


def _regions_of(regions: Regions | Sequence[Regions], images: int, space: tuple[int, ...]) -> list[Regions]:
    each = [regions] * images if isinstance(regions, Regions) else list(regions)
    if len(each) != images:
        raise ShapeError(f"{len(each)} sets of regions were given for {images} images; give one, or one of each image")
    for number, one in enumerate(each):
        if one.names != each[0].names:
            raise RegionError(
                f"image {number} has the regions {one.names}, image 0 {each[0].names}; use the same names"
            )
        if one.space != space:
            raise ShapeError(
                f"the maps are {space} and the regions of image {number} {one.space}; use regions.resized({space})"
            )
    return each


def _sign_for(maps: Array, kind: str, sign: str | None) -> Sign:
    if kind not in _KINDS:
        raise SettingError(f"kind is one of {', '.join(_KINDS)}, got {kind!r}")
    if sign is not None and sign not in _SIGNS:
        raise SettingError(f"sign is one of {', '.join(_SIGNS)}, got {sign!r}")
    is_negative = bool((maps < 0).any())
    if sign is None and is_negative:
        raise SettingError(
            "a map holds negative values, of which positive ones in the same region would hide as much; say "
            "sign='positive', 'negative', 'absolute' or 'signed'"
        )
    if sign == "signed" and is_negative and kind in _RELATIVE:
        raise SettingError(f"a {kind} of values of both signs does not exist; say sign='positive' or 'absolute'")
    return sign or "positive"  # type: ignore[return-value]  # checked above
