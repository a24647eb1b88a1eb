"""What one process is to measure, and what it says on the way."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from benchmarks.outcome import Outcome, Setting
from benchmarks.timing import Budget

Cell: TypeAlias = tuple[str, str]
"""Job and library."""
EVERYBODY = "*"
"""In place of a library: all of a job's, side by side."""


@dataclass(frozen=True)
class Assignment:
    """For one process.

    Parameters
    ----------
    kind : str
        Which module measures; see `benchmarks.worker`.
    workload : str
        Key.
    cells : tuple of (job, library)
    setting : Setting
    budget : Budget
    run : str
        Key of the run, to be noted in outcomes.
    options : mapping of str to object
        Of the kind.
    """

    kind: str
    workload: str
    cells: tuple[Cell, ...]
    setting: Setting
    budget: Budget
    run: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """For another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Assignment":
        """From what `to_json` gave."""
        given = json.loads(text)
        cells = tuple((job, library) for job, library in given["cells"])
        return cls(
            **{**given, "cells": cells, "setting": Setting(**given["setting"]), "budget": Budget(**given["budget"])}
        )


@dataclass(frozen=True)
class Begun:
    """A cell is being worked on; if the process ends now, this is where."""

    job: str
    library: str


Event: TypeAlias = Begun | Outcome
Emit: TypeAlias = Callable[[Event], None]


def event_line(event: Event) -> str:
    """One line of JSON."""
    if isinstance(event, Begun):
        return json.dumps({"begun": [event.job, event.library]})
    return json.dumps({"outcome": event.stored()})


def read_event(line: str) -> Event:
    """From what `event_line` gave."""
    given = json.loads(line)
    return Begun(*given["begun"]) if "begun" in given else Outcome.read(given["outcome"])
