"""The picture of speed: a dot per library and job."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.goals import GOALS
from benchmarks.jobs import JOBS
from benchmarks.libraries.ours import ATTRIBUTE
from benchmarks.libraries.table import LIBRARIES, OURS
from benchmarks.outcome import Outcome
from benchmarks.reporting.style import COLOURS, INK, MARKERS, figure_of, logarithmic_ticks
from benchmarks.reporting.tables import Cells, cells_of, columns_of, rows_of
from benchmarks.workloads import WORKLOADS

GOAL = "our goal"


def draw_speed(outcomes: Sequence[Outcome], workloads: Sequence[str], path: Path) -> bool:
    """Draw forward passes on a logarithmic axis, a panel per workload; returns whether there was anything to draw."""
    tables = {key: cells_of(outcomes, "speed", key) for key in workloads}
    tables = {key: cells for key, cells in tables.items() if columns_of(cells)}
    if not tables:
        return False
    jobs = [job for job in JOBS if any(job in rows_of(cells) for cells in tables.values())]
    size = (4.4 * len(tables) + 1.6, 1.5 + 0.37 * len(jobs))
    with figure_of(path, columns=len(tables), size=size, share_y=True) as (figure, panels):
        for axes, (key, cells) in zip(panels, tables.items(), strict=True):
            _panel(axes, cells, jobs)
            axes.set_title(WORKLOADS[key].words)
        panels[0].set_yticks(range(len(jobs)), [JOBS[job].title for job in jobs])
        panels[0].invert_yaxis()
        named: dict[str, Any] = {}
        for axes in panels:
            handles, labels = axes.get_legend_handles_labels()
            named |= dict(zip(labels, handles, strict=True))
        order = [name for name in (*LIBRARIES, GOAL) if name in named]
        figure.legend(
            [named[name] for name in order], order, loc="outside lower center", ncols=min(len(order), 4 * len(tables))
        )
    return True


def _panel(axes: Any, cells: Cells, jobs: Sequence[str]) -> None:
    goals = {goal.job: goal.limit for goal in GOALS if goal.kind == "speed"}
    for row, job in enumerate(jobs):
        if job in goals:
            ends = ([goals[job]] * 2, [row - 0.33, row + 0.33])
            axes.plot(*ends, color=INK, linewidth=1.6, label=GOAL, zorder=1)
    for library in columns_of(cells):
        if library != ATTRIBUTE.key:
            _dots(axes, cells, jobs, library)
    axes.set_xscale("log")
    axes.set_xlabel("plain forward passes (logarithmic)")
    axes.xaxis.set_major_locator(logarithmic_ticks(axes.get_xlim()))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    axes.grid(axis="x", which="major")
    axes.grid(axis="y", linewidth=0.4)
    axes.tick_params(axis="y", length=0)


def _dots(axes: Any, cells: Cells, jobs: Sequence[str], library: str) -> None:
    ratios = _ratios(cells, jobs, library)
    emphasis = {"markersize": 8, "zorder": 3} if library == OURS else {"markersize": 6, "zorder": 2, "alpha": 0.9}
    axes.plot(
        list(ratios.values()),
        list(ratios),
        MARKERS[library],
        color=COLOURS[library],
        label=library,
        linestyle="none",
        **emphasis,
    )


def _ratios(cells: Cells, jobs: Sequence[str], library: str) -> Mapping[int, float]:
    """Medians by row."""
    found = {}
    for row, job in enumerate(jobs):
        outcome = cells.get((job, library))
        if outcome is not None and outcome.status == "measured":
            found[row] = outcome.spreads["wall_ratio"].median
    return found
