"""Tables of results, in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from benchmarks.jobs import JOBS
from benchmarks.libraries.table import LIBRARIES
from benchmarks.outcome import Outcome
from benchmarks.spread import Spread
from benchmarks.workloads import Workload

Cells: TypeAlias = Mapping[tuple[str, str], Outcome]
"""By job and library."""
NOTHING = "–"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table, and an empty one; numbers, which come after the first column, to the right."""
    rule = ["---", *("---:" for _ in header[1:])]
    return [*(f"| {' | '.join(row)} |" for row in (header, rule, *rows)), ""]


def cells_of(outcomes: Iterable[Outcome], kind: str, workload: str) -> Cells:
    """The cells of one table."""
    chosen = (each for each in outcomes if each.kind == kind and each.workload == workload)
    return {(each.job, each.library): each for each in chosen}


def columns_of(cells: Cells) -> list[str]:
    """Libraries with at least one number, in the usual order."""
    measured = {library for (_, library), outcome in cells.items() if outcome.status == "measured"}
    return [library for library in LIBRARIES if library in measured]


def rows_of(cells: Cells) -> list[str]:
    """Jobs with at least one number, in the usual order."""
    measured = {job for (job, _), outcome in cells.items() if outcome.status == "measured"}
    return [job for job in JOBS if job in measured]


def speed_table(cells: Cells, ratio: str, *, with_spread: bool) -> list[str]:
    """Ratios to a forward pass: the median, and the quartiles.

    Parameters
    ----------
    cells : Cells
    ratio : str
        ``"wall_ratio"`` or ``"process_ratio"``.
    with_spread : bool
        Show quartiles.
    """
    columns = columns_of(cells)

    def cell(job: str, library: str) -> str:
        outcome = cells.get((job, library))
        if outcome is None or outcome.status != "measured":
            return NOTHING
        return in_multiples(outcome.spreads[ratio], with_spread=with_spread) + _mark(outcome)

    return markdown(
        ["", *columns], ([JOBS[job].title, *(cell(job, each) for each in columns)] for job in rows_of(cells))
    )


def memory_table(cells: Cells) -> list[str]:
    """MiB over the level before the job: first call, later calls; and of a forward pass."""
    columns = columns_of(cells)

    def cell(job: str, library: str) -> str:
        outcome = cells.get((job, library))
        if outcome is None or outcome.status != "measured":
            return NOTHING
        return f"{outcome.numbers['first_mib']:.0f} / {outcome.numbers['later_mib']:.0f}"

    return markdown(
        ["", *columns], ([JOBS[job].title, *(cell(job, each) for each in columns)] for job in rows_of(cells))
    )


def forward_mib(cells: Cells) -> Spread:
    """Peak of a plain forward pass, in all processes."""
    return Spread.of([each.numbers["forward_mib"] for each in cells.values() if each.status == "measured"])


def forward_ms(cells: Cells) -> Spread:
    """Milliseconds of a plain forward pass: the medians beside each job."""
    found = [each.spreads["forward_wall_s"].median for each in cells.values() if each.status == "measured"]
    return Spread.of([1000 * seconds for seconds in found])


def in_multiples(spread: Spread, *, with_spread: bool = True) -> str:
    """As ``1.02 (0.99–1.05)``."""
    return f"{number(spread.median)}" + (f" ({number(spread.low)}–{number(spread.high)})" if with_spread else "")


def number(value: float) -> str:
    """Two decimals below 10, one below 100."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def reasons(outcomes: Iterable[Outcome], workloads: Mapping[str, Workload]) -> list[str]:
    """Why cells are empty: equal reasons of a library together, with the jobs and workloads that they are about."""
    gathered: dict[tuple[str, str], dict[str, list[str]]] = {}
    for outcome in outcomes:
        if outcome.status != "measured" and outcome.workload in workloads:
            where = gathered.setdefault((outcome.library, f"{outcome.status}: {outcome.reason}"), {})
            where.setdefault(outcome.job, []).append(outcome.workload)
    lines = []
    for (library, reason), where in sorted(gathered.items()):
        if reason in ("absent: not installed", "not offered: not offered"):
            short = reason.partition(": ")[2]
            jobs = "" if short == "not installed" else f" ({', '.join(where)})"
            lines.append(f"- {library}: {short}{jobs}")
        else:
            places = "; ".join(f"{job} on {', '.join(dict.fromkeys(keys))}" for job, keys in where.items())
            lines.append(f"- {library}: {escaped(reason)} ({places})")
    return list(dict.fromkeys(lines))


def notes(outcomes: Iterable[Outcome]) -> list[str]:
    """What a reader of the numbers with an asterisk must know."""
    found: dict[str, None] = {}
    for outcome in outcomes:
        if outcome.note and outcome.status == "measured":
            found[f"- \\* {outcome.library}, {JOBS[outcome.job].method.replace('_', ' ')}: {escaped(outcome.note)}"] = (
                None
            )
    return list(found)


def escaped(text: str) -> str:
    """Text that a table or list can hold."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _mark(outcome: Outcome) -> str:
    return "\\*" if outcome.note else ""
