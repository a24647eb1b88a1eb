"""How a case ends, and what a case is."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reliability.trial import Trial


class Kind(Enum):
    """From best to worst, for a case of several methods; what does not apply does not count."""

    NOT_APPLICABLE = "not applicable"
    RIGHT = "right"
    REFUSED = "refused"
    UNCLEAR = "unclear error"
    WRONG = "wrong"


@dataclass(frozen=True)
class Verdict:
    """How one method of one library ended, with the number or message that decided."""

    kind: Kind
    reason: str = ""


class Section(Enum):
    """The parts of the list."""

    CALLER = "Nothing of the caller changes"
    CONTEXT = "Whatever the caller's context"
    ARCHITECTURE = "Whatever the architecture"
    INPUT = "Whatever the input and target"
    MATHEMATICS = "The mathematics"


LAYER_MAPS = ("cam", "grad_cam")
PIXEL_MAPS = ("gradient", "lrp", "clear")
METHODS = (*LAYER_MAPS, *PIXEL_MAPS)
ALL = (*METHODS, "guided")


@dataclass(frozen=True)
class Case:
    """One claim about any library that explains models.

    Parameters
    ----------
    name : str
        Short, unique.
    section : Section
    sentence : str
        What must hold, from the list.
    run : callable of a Trial, giving a Verdict
        Raises nothing but what `Trial.ask` raises.
    methods : tuple of str
        Which methods the claim concerns.
    may_refuse : bool
        Whether a refusal in words is as good as a right map for our library; a peer's refusal always counts as one.
    trouble : str
        Regular expression: what a message must name to count as clear, for errors that are not our own.
    frameworks : tuple of str
        Where the case exists.
    """

    name: str
    section: Section
    sentence: str
    run: Callable[["Trial"], Verdict]
    methods: tuple[str, ...] = METHODS
    may_refuse: bool = False
    trouble: str = r"(?!)"
    frameworks: tuple[str, ...] = ("torch", "paddle")
