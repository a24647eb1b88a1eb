"""Carries out what is planned, and says how it goes."""

import sys
import time
from collections.abc import Iterable
from dataclasses import replace

from benchmarks.assignment import Assignment
from benchmarks.growth.imports import STATEMENTS, measured
from benchmarks.libraries.table import OURS
from benchmarks.machine import load
from benchmarks.outcome import Outcome
from benchmarks.plan import Wish, still_open
from benchmarks.processes import carry_out
from benchmarks.store import Store

IMPORTS, FEW_IMPORTS = 15, 3


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def measure_all(assignments: Iterable[Assignment], wish: Wish, store: Store, run: str) -> None:
    """Measure what is not stored yet, each assignment in a process of its own."""
    for assignment in assignments:
        left = still_open(assignment, wish, store)
        if not left.cells:
            continue
        left = replace(left, run=run)
        jobs = ", ".join(dict.fromkeys(job for job, _ in left.cells))
        say(f"{left.kind} {left.workload}: {jobs} (load {load():.2f})")
        begun = time.perf_counter()
        carry_out(left, store, lambda outcome: say(f"    {line_of(outcome)}"))
        say(f"    {time.perf_counter() - begun:.0f} s")


def measure_imports(wish: Wish, store: Store, run: str) -> None:
    """Measure what importing costs."""
    setting = replace(wish.setting, device="cpu")
    empty = Assignment("import", "", tuple((key, OURS) for key in STATEMENTS), setting, wish.budget, run)
    if still_open(empty, wish, store).cells:
        store.add(measured(empty, FEW_IMPORTS if wish.setting.is_quick else IMPORTS))


def line_of(outcome: Outcome) -> str:
    """One outcome in words."""
    name = f"{outcome.job} {outcome.library}"
    if outcome.status != "measured":
        return f"{name}: {outcome.status}: {outcome.reason}"
    ratio = outcome.spreads.get("wall_ratio")
    times = (
        [] if ratio is None else [f"{ratio.median:.3g} × ({ratio.low:.3g} to {ratio.high:.3g}, {ratio.count} rounds)"]
    )
    numbers = [f"{key} {value:g}" for key, value in outcome.numbers.items() if not key.startswith("load")]
    return f"{name}: {'; '.join([*times, *numbers])}"
