"""Books the time between function calls on the part whose function is running."""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, TypeAlias

from benchmarks.shares.parts import REST, part_of, part_of_builtin

Entry: TypeAlias = tuple[str, str]
"""Part and function."""


class Ledger:
    """Seconds per part and per function, own time only, of the thread that runs the work."""

    def __init__(self) -> None:
        self._seconds: defaultdict[Entry, float] = defaultdict(float)
        self._events: defaultdict[Entry, int] = defaultdict(int)
        self._known: dict[tuple[Any, str], Entry] = {}
        self._open: list[Entry] = [(REST, "")]
        self._last = 0.0

    def book(self, work: Callable[[], Any]) -> Any:
        """Run some work under the ledger."""
        self._open = [(REST, "")]
        self._last = time.perf_counter()
        sys.setprofile(self._event)
        try:
            return work()
        finally:
            sys.setprofile(None)

    def functions(self, *, true_s: float | None = None) -> dict[Entry, float]:
        """Seconds by part and function.

        Parameters
        ----------
        true_s : float, optional
            How long the work takes when nothing is booked. What booking costs is then taken off, the same for each
            call and return, so that about this remains.
        """
        booked_s, events = sum(self._seconds.values()), sum(self._events.values())
        cost_s = 0.0 if true_s is None else max(0.0, booked_s - true_s) / max(events, 1)
        return {entry: max(0.0, seconds - self._events[entry] * cost_s) for entry, seconds in self._seconds.items()}

    def _event(self, frame: FrameType, event: str, given: Any) -> None:
        entry = self._open[-1]
        self._seconds[entry] += time.perf_counter() - self._last
        self._events[entry] += 1
        if event == "call":
            self._open.append(self._entry(frame, entry[0]))
        elif event == "c_call":
            name = getattr(given, "__qualname__", str(given))
            self._open.append((part_of_builtin(given, entry[0]), name))
        elif len(self._open) > 1:
            self._open.pop()
        self._last = time.perf_counter()

    def _entry(self, frame: FrameType, caller: str) -> Entry:
        code = frame.f_code
        key = (code, caller)
        if key not in self._known:
            name = f"{'/'.join(code.co_filename.split('/')[-2:])}:{code.co_name}"
            self._known[key] = (part_of(code, caller), name)
        return self._known[key]


def by_part(functions: Mapping[Entry, float]) -> dict[str, float]:
    """Sums of seconds over functions."""
    found: defaultdict[str, float] = defaultdict(float)
    for (part, _), seconds in functions.items():
        found[part] += seconds
    return dict(found)
