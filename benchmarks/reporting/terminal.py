"""The summary that is printed when something was measured."""

from collections.abc import Sequence

from benchmarks.goals import judged
from benchmarks.growth.points import AXES
from benchmarks.outcome import Outcome
from benchmarks.reporting import growth_tables
from benchmarks.reporting.tables import (
    cells_of,
    forward_mib,
    forward_ms,
    memory_table,
    notes,
    number,
    reasons,
    speed_table,
)
from benchmarks.reporting.verdicts import counted, goals_tables
from benchmarks.store import Store
from benchmarks.workloads import TINY, WORKLOADS

WORKLOADS_SHOWN = {**WORKLOADS, **{each.key: each for each in TINY.values()}}


def summary(store: Store, parts: Sequence[str], *, is_quick: bool) -> str:
    """Tables of what was measured in the parts asked for, then the goals."""
    lines: list[str] = []
    if "speed" in parts:
        lines += _speed(store.newest("speed", is_quick=is_quick))
    if "memory" in parts:
        lines += _memory(store.newest("memory", is_quick=is_quick))
    outcomes = store.newest("speed", "memory", "growth", "calls", "batches", "import", is_quick=is_quick)
    if "growth" in parts:
        for axis in AXES:
            lines += growth_tables.curve(outcomes, axis)
        lines += [*growth_tables.calls(outcomes), *growth_tables.batches(outcomes), *growth_tables.imports(outcomes)]
    verdicts = judged(outcomes)
    lines += ["Goals: median (quartiles)", "", *goals_tables(verdicts, only_measured=True), counted(verdicts)]
    return "\n".join(lines)


def _speed(outcomes: Sequence[Outcome]) -> list[str]:
    lines = []
    for key, workload in WORKLOADS_SHOWN.items():
        cells = cells_of(outcomes, "speed", key)
        if any(each.status == "measured" for each in cells.values()):
            forward = number(forward_ms(cells).median)
            lines += [f"{workload.framework}: {workload.words}; a forward pass takes {forward} ms", ""]
            lines += ["Wall time in forward passes: median (quartiles)", ""]
            lines += speed_table(cells, "wall_ratio", with_spread=True)
            lines += ["Process time in forward passes: median", ""]
            lines += speed_table(cells, "process_ratio", with_spread=False)
    return [*lines, *notes(outcomes), *reasons(outcomes, WORKLOADS_SHOWN), ""]


def _memory(outcomes: Sequence[Outcome]) -> list[str]:
    lines = []
    for key, workload in WORKLOADS_SHOWN.items():
        cells = cells_of(outcomes, "memory", key)
        if any(each.status == "measured" for each in cells.values()):
            forward = forward_mib(cells).median
            lines += [f"{workload.framework}: {workload.words}; peak memory of a forward pass: {forward:.0f} MiB", ""]
            lines += ["MiB over the level before the job: first call / later call", "", *memory_table(cells)]
    return [*lines, *reasons(outcomes, WORKLOADS_SHOWN), ""]
