"""The pictures of growth: time and memory along each axis, and over many calls."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.growth.calls import WINDOWS
from benchmarks.growth.points import AXES, METHODS
from benchmarks.outcome import Outcome
from benchmarks.reporting.growth_tables import TITLES, points, workloads_of
from benchmarks.reporting.style import COLOURS, INK, MARKERS, figure_of, logarithmic_ticks


def draw_growth(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Draw time and memory of each method against each axis, with those of a forward pass; returns the files."""
    drawn = []
    for workload in workloads_of(outcomes, "growth"):
        for axis in AXES:
            found = points(outcomes, axis, workload)
            if len({value for _, value in found}) > 1:
                path = folder / f"performance_{axis}{'_paddle' if workload.startswith('paddle') else ''}.svg"
                _draw_axis(found, axis, path)
                drawn.append(path)
    return drawn


def _draw_axis(found: Mapping[tuple[str, int], Outcome], axis: str, path: Path) -> None:
    values = sorted({value for _, value in found})
    with figure_of(path, columns=2, size=(9.6, 3.6)) as (figure, (time, memory)):
        for method in METHODS:
            line = [(value, found[method, value]) for value in values if (method, value) in found]
            style = {"color": COLOURS[method], "marker": MARKERS[method], "label": method}
            time.plot([value for value, _ in line], [each.spreads["wall_s"].median for _, each in line], **style)
            memory.plot([value for value, _ in line], [each.numbers["first_mib"] for _, each in line], **style)
        first = {value: next(each for (_, of), each in found.items() if of == value) for value in values}
        style = {"color": INK, "linestyle": "--", "label": "forward pass"}
        time.plot(values, [first[value].spreads["forward_wall_s"].median for value in values], **style)
        memory.plot(values, [first[value].numbers["forward_mib"] for value in values], **style)
        for axes, title in ((time, "seconds per call"), (memory, "peak memory over the level before, MiB")):
            _logarithmic(axes, title, TITLES[axis], values)
        figure.legend(*time.get_legend_handles_labels(), loc="outside right center")


def _logarithmic(axes: Any, title: str, label: str, values: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(values, [f"{value}" for value in values])
    axes.yaxis.set_major_locator(logarithmic_ticks(axes.get_ylim()))
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(label)
    axes.set_title(title)
    axes.grid()


def draw_calls(outcomes: Iterable[Outcome], path: Path) -> bool:
    """Draw milliseconds of a call on the tiny network, each tenth of many calls; returns whether there are any."""
    measured = [each for each in outcomes if each.kind == "calls" and each.status == "measured"]
    if not measured:
        return False
    found = [each for each in measured if each.workload == measured[0].workload]
    calls = int(found[0].numbers["calls"])
    ends = [calls * number // WINDOWS for number in range(1, WINDOWS + 1)]
    with figure_of(path, columns=1, size=(6.4, 3.2)) as (figure, (axes,)):
        for outcome in found:
            windows = [outcome.spreads[f"tenth {number}"] for number in range(1, WINDOWS + 1)]
            middle, low, high = ([1000 * getattr(each, of) for each in windows] for of in ("median", "low", "high"))
            colour = COLOURS[outcome.job]
            axes.plot(ends, middle, color=colour, marker=MARKERS[outcome.job], label=outcome.job)
            axes.fill_between(ends, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("calls so far")
        axes.set_title("milliseconds per call, tiny network: median and quartiles of each tenth")
        axes.grid()
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
    return True
