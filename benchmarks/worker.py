"""One process of the benchmark: ``python -m benchmarks.worker ASSIGNMENT EVENTS``, both files."""

import importlib
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from benchmarks.assignment import Assignment, Event, event_line

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "speed": "benchmarks.speed",
        "memory": "benchmarks.memory",
        "growth": "benchmarks.growth.curves",
        "calls": "benchmarks.growth.calls",
        "batches": "benchmarks.growth.batches",
    }
)
"""Which module's `measure` does an assignment."""


def main(assignment: Path, events: Path) -> int:
    """Do one assignment; each event is written at once, so that nothing is lost if the process ends."""
    warnings.simplefilter("ignore")  # what other libraries say of themselves
    given = Assignment.from_json(assignment.read_text(encoding="utf-8"))
    with events.open("a", encoding="utf-8") as stream:

        def emit(event: Event) -> None:
            stream.write(event_line(event) + "\n")
            stream.flush()

        importlib.import_module(KINDS[given.kind]).measure(given, emit)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
