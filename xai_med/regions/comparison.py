"""What a comparison of two groups found, region by region."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from xai_med.errors import SettingError
from xai_med.regions.protocols import Protocol


@dataclass(frozen=True)
class Difference:
    """One region, of one method: its scores in two groups.

    Parameters
    ----------
    method, region : str
    counts : (int, int)
        Images with a score, in each group.
    means, medians : (float, float)
        Of each group.
    test : str
        That was made; ``"none"`` with the reason in `note`.
    statistic, p_value, p_adjusted : float
    is_significant : bool
        Whether the adjusted p-value is below the protocol's level.
    rank_biserial, cohen_d : float
        Positive where the first group's scores are larger.
    interval : (float, float)
        Of the rank-biserial correlation, by bootstrap of images or patients; NaN where it was not asked for.
    note : str
    """

    method: str
    region: str
    counts: tuple[int, int]
    means: tuple[float, float]
    medians: tuple[float, float]
    test: str
    statistic: float
    p_value: float
    p_adjusted: float
    is_significant: bool
    rank_biserial: float
    cohen_d: float
    interval: tuple[float, float]
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two groups, compared region by region.

    Parameters
    ----------
    differences : tuple of Difference
    names : (str, str)
        Of the groups.
    protocol : Protocol
    caveats : tuple of str
        What the numbers do not say.
    """

    differences: tuple[Difference, ...]
    names: tuple[str, str]
    protocol: Protocol
    caveats: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Difference]:
        """Go through the differences."""
        return iter(self.differences)

    def rows(self) -> list[Mapping[str, Any]]:
        """One row per test, for tables."""
        return [asdict(each) for each in self.differences]

    def find(self, region: str, *, method: str | None = None) -> Difference:
        """The difference of one region.

        Raises
        ------
        SettingError
            None or several fit.
        """
        found = [each for each in self if each.region == region and method in (None, each.method)]
        if len(found) != 1:
            raise SettingError(f"{len(found)} comparisons of region {region!r} and method {method!r}; name one of each")
        return found[0]
