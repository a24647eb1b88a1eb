"""Tables of how cost grows."""

from collections.abc import Iterable, Sequence

from benchmarks.growth.calls import WINDOWS
from benchmarks.growth.imports import STATEMENTS
from benchmarks.growth.points import METHODS, Point
from benchmarks.outcome import Outcome
from benchmarks.reporting.tables import NOTHING, markdown, number

TITLES = {"classes": "classes explained", "batch": "images in the batch", "size": "pixels per side"}


def points(outcomes: Iterable[Outcome], axis: str, workload: str) -> dict[tuple[str, int], Outcome]:
    """Measured points of one axis, by method and value."""
    found = {}
    for outcome in outcomes:
        if outcome.kind == "growth" and outcome.workload == workload and outcome.status == "measured":
            point = Point.read(outcome.job)
            if point.axis == axis:
                found[point.method, point.value] = outcome
    return found


def workloads_of(outcomes: Iterable[Outcome], kind: str) -> list[str]:
    """Where something of a kind was measured."""
    return list(dict.fromkeys(each.workload for each in outcomes if each.kind == kind and each.status == "measured"))


def curve(outcomes: Sequence[Outcome], axis: str) -> list[str]:
    """Multiples of a forward pass of the same batch, and MiB, along one axis."""
    lines = []
    for workload in workloads_of(outcomes, "growth"):
        found = points(outcomes, axis, workload)
        values = sorted({value for _, value in found})
        if not values:
            continue
        header = [f"{workload}: {TITLES[axis]}", *(f"{value:,}" for value in values)]
        rows = [["a forward pass, ms; MiB", *(_forward(found, value) for value in values)]]
        for method in METHODS:
            rows.append([f"`{method}`", *(_point(found.get((method, value))) for value in values)])
        lines += markdown(header, rows)
    return lines


def calls(outcomes: Sequence[Outcome]) -> list[str]:
    """First and later calls; first and last tenth of many calls."""
    lines = []
    for workload in workloads_of(outcomes, "calls"):
        found = {each.job: each for each in outcomes if each.kind == "calls" and each.workload == workload}
        measured = [found[method] for method in METHODS if method in found and found[method].status == "measured"]
        header = [
            f"{workload}, 1 class",
            "first call, ms",
            "later calls, ms",
            f"tiny network, {measured[0].numbers['calls']:,.0f} calls: first tenth, ms",
            "last tenth, ms",
            "left behind, MiB",
        ]
        lines += markdown(header, (_calls_row(each) for each in measured))
    return lines


def batches(outcomes: Sequence[Outcome]) -> list[str]:
    """Time per image together and one by one, and differences."""
    lines = []
    for workload in workloads_of(outcomes, "batches"):
        found = {each.job: each for each in outcomes if each.kind == "batches" and each.workload == workload}
        measured = [found[method] for method in METHODS if method in found and found[method].status == "measured"]
        header = [
            f"{workload}, {measured[0].numbers['images']:.0f} images",
            "together, ms per image",
            "one by one, ms per image",
            "ratio",
            "largest difference of a map (median), float32",
            "float64",
        ]
        lines += markdown(header, (_batches_row(each) for each in measured))
    return lines


def imports(outcomes: Sequence[Outcome]) -> list[str]:
    """Seconds of importing."""
    found = {each.job: each.spreads["wall_s"] for each in outcomes if each.kind == "import"}
    header = ["in a fresh process", "smallest, ms", "median, ms", "times"]
    rows = (
        [f"`{statement}`", *(f"{1000 * value:.0f}" for value in (spread.smallest, spread.median)), str(spread.count)]
        for statement, spread in ((STATEMENTS[key], found[key]) for key in STATEMENTS if key in found)
    )
    return markdown(header, rows) if found else []


def _point(outcome: Outcome | None) -> str:
    if outcome is None:
        return NOTHING
    return f"{number(outcome.spreads['wall_ratio'].median)} ×; {outcome.numbers['first_mib']:,.0f}"


def _forward(found: dict[tuple[str, int], Outcome], value: int) -> str:
    outcome = next(each for (_, of), each in found.items() if of == value)
    return f"{number(1000 * outcome.spreads['forward_wall_s'].median)}; {outcome.numbers['forward_mib']:,.0f}"


def _calls_row(outcome: Outcome) -> list[str]:
    first, last = outcome.spreads["tenth 1"], outcome.spreads[f"tenth {WINDOWS}"]
    seconds = (outcome.numbers["first_s"], outcome.spreads["later_s"].median, first.median, last.median)
    return [f"`{outcome.job}`", *(number(1000 * value) for value in seconds), f"{outcome.numbers['memory_mib']:.1f}"]


def _batches_row(outcome: Outcome) -> list[str]:
    numbers, spreads = outcome.numbers, outcome.spreads
    return [
        f"`{outcome.job}`",
        number(1000 * spreads["together_s"].median),
        number(1000 * spreads["singly_s"].median),
        number(spreads["wall_ratio"].median),
        *(f"{numbers[f'largest_{dtype}']:.1g} ({numbers[f'usual_{dtype}']:.1g})" for dtype in ("float32", "float64")),
    ]
