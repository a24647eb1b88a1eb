"""On how many of the kit's networks each method works, in each framework."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from method_docs.examples import KIT_SETTINGS, OUTSIDE_OF_THE_KIT
from xai_med.errors import ConformanceError
from xai_med.testing import NETWORKS, check_method

FRAMEWORKS = ("torch", "paddle")
_ROW = re.compile(r"^\| \[`(\w+)`\].*\| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Counts:
    """Cells of a method's row: networks it works on in torch, in paddle, and those it refuses."""

    torch: str
    paddle: str
    refused: str


def measured(name: str) -> Counts:
    """Run the conformance kit on a method.

    Raises
    ------
    ConformanceError
        The method does not keep its contract.
    """
    if name in OUTSIDE_OF_THE_KIT:
        return Counts("-", "-", OUTSIDE_OF_THE_KIT[name])
    found = check_method(name, settings=KIT_SETTINGS.get(name))
    works = [sum(place.startswith(f"{framework}: ") for place in found.worked) for framework in FRAMEWORKS]
    refused = [place.removeprefix("torch: ") for place in found.refused if place.startswith("torch: ")]
    if set(works) != {len(NETWORKS) - len(refused)}:
        raise ConformanceError(f"{name}: {works} work and {len(refused)} refuse, of {len(NETWORKS)} networks")
    return Counts(*map(str, works), ", ".join(f"`{network}`" for network in refused) or "none")


def written(index: str) -> Mapping[str, Counts]:
    """The counts that an index already states, by method; those that cannot be of today's kit are left out."""
    found = {name: Counts(*cells) for name, *cells in _ROW.findall(index)}
    return {name: counts for name, counts in found.items() if _fits(name, counts)}


def _fits(name: str, counts: Counts) -> bool:
    if name in OUTSIDE_OF_THE_KIT:
        return counts == Counts("-", "-", OUTSIDE_OF_THE_KIT[name])
    return counts.torch == counts.paddle == str(len(NETWORKS) - counts.refused.count("`") // 2)
