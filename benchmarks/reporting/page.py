"""docs/performance.md, its pictures, and the headline."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.goals import judged
from benchmarks.growth.points import AXES
from benchmarks.libraries.table import LIBRARIES
from benchmarks.machine import ROOT, code_digest
from benchmarks.outcome import Outcome
from benchmarks.peak import how
from benchmarks.plan import missing
from benchmarks.reporting import growth_tables
from benchmarks.reporting.headline import WORKLOADS_SHOWN, headline, written_into
from benchmarks.reporting.plots_growth import draw_calls, draw_growth
from benchmarks.reporting.plots_speed import draw_speed
from benchmarks.reporting.provenance import dated, provenance
from benchmarks.reporting.tables import (
    cells_of,
    columns_of,
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
from benchmarks.workloads import WORKLOADS

KINDS = ("speed", "memory", "growth", "calls", "batches", "import")
NOTES = ROOT / "benchmarks" / "notes.md"
"""Written by hand: what each optimisation bought, and where the remaining time goes."""

INTRODUCTION = """\
Unit: **one plain `no_grad` forward pass of the same batch** ("×"). Each run of a job follows such a pass, to which it
is compared; all libraries take turns (forward, A, forward, B, …), the next round begins with another one. Shown are the
median of the ratios and their quartiles. Wall time is what a user waits; process time adds up all threads.

Models have random weights from a fixed seed (nothing is downloaded); batch norms have the statistics of synthetic
images like those that are explained. Each library has a copy of the model of its own, as some replace modules or leave
hooks behind, and whatever it can build once for many batches is built before the clock starts. A job is the maps of all
classes asked for, of the whole batch; where a library takes one class or one image at a time, it is called in a loop.
The threads of NumPy's BLAS library are told to sleep when they are done (`OPENBLAS_THREAD_TIMEOUT=4`), so that none is
charged for what ran before it.
"""
MEMORY = """\
Each job in a process of its own: the model is built, one forward pass made, free memory given back to the system; the
numbers are the peak during the job over that level. The job was run on a tiny network before, so that code loaded on
the first call is not counted. The first call includes what the library keeps for later ones, later calls are counted
over the same level."""
GROWTH = """\
Our own cost against the number of classes, the batch and the image size, on a ResNet-18 with 1000 outputs; 14 classes
of one image of 224 × 224 pixels where they do not grow. A cell holds the time in forward passes of the same batch, and
the peak memory in MiB over the level before the call."""


YOURSELF = """\
```sh
scripts/test --collect-only -q                                   # makes .venv-test, with frameworks and peers
.venv-test/bin/python -m benchmarks                              # everything, some hours; interrupted, it goes on
.venv-test/bin/python -m benchmarks speed --quick                # a first look, some minutes
.venv-test/bin/python -m benchmarks speed --workload resnet50-b1 --job lrp_14 --library xai_med --library zennit
.venv-test/bin/python -m benchmarks profile --workload densenet121-b1 --job lrp_14
.venv-test/bin/python -m benchmarks report                       # this page
```

Results go to `benchmarks/results.json`. A workload is one entry in `benchmarks/workloads.py`, a library one file in
`benchmarks/libraries/` and one entry in its table. On a GPU (`--device auto` takes one where there is one) every timing
begins and ends with an idle device, and memory is that of the framework's tensors. On a machine that is not idle, set
`OMP_WAIT_POLICY=passive` and look at process time."""


def write_report(store: Store, page: Path, *, is_quick: bool = False) -> int:
    """Write the page, its pictures beside it, and the README's headline where its marks are; returns the exit code."""
    outcomes = store.newest(*KINDS, is_quick=is_quick)
    if not outcomes:
        print(f"{store.path} holds no results; run python -m benchmarks first")
        return 1
    pictures = page.parent / "images"
    sections = [
        _opening(store, outcomes),
        _goals(outcomes),
        _notes(),
        _speed(outcomes, pictures),
        _memory(outcomes),
        _growth(outcomes, pictures),
        _gaps(outcomes),
        ["## Measure it yourself", "", YOURSELF],
    ]
    text = "\n".join(line for section in sections for line in section)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text.rstrip() + "\n", encoding="utf-8")
    lines = _headline(store, outcomes)
    readme = page.parent.parent / "README.md"
    is_written = readme.exists() and written_into(readme, lines)
    print(f"wrote {page}" + (f" and the headline in {readme}" if is_written else "; headline for the README:"))
    if not is_written:
        print("\n".join(lines))
    return 0


def _headline(store: Store, outcomes: Sequence[Outcome]) -> list[str]:
    speed = [each for each in outcomes if each.kind == "speed" and each.workload in WORKLOADS_SHOWN]
    return [*headline(outcomes), *dated(store, speed or outcomes)]


def _opening(store: Store, outcomes: Sequence[Outcome]) -> list[str]:
    lines = ["# Performance", "", INTRODUCTION, "## Headline", "", *_headline(store, outcomes), ""]
    return [*lines, "## What was measured, where", "", *provenance(store, outcomes, code_digest())]


def _goals(outcomes: Sequence[Outcome]) -> list[str]:
    verdicts = judged(outcomes)
    lines = ["## Goals", "", f"{counted(verdicts)} Judged by the median; in brackets the quartiles.", ""]
    return [*lines, *goals_tables(verdicts)]


def _notes() -> list[str]:
    """The hand-written part."""
    if not NOTES.exists():
        return []
    return [NOTES.read_text(encoding="utf-8").strip(), ""]


def _speed(outcomes: Sequence[Outcome], pictures: Path) -> list[str]:
    if not any(each.kind == "speed" for each in outcomes):
        return []
    lines = ["## Speed", ""]
    if draw_speed(outcomes, WORKLOADS_SHOWN, pictures / "performance_speed.svg"):
        lines += ["![Forward passes per job and library](images/performance_speed.svg)", ""]
    shown = {library for each in outcomes for library in [each.library] if each.status == "measured"}
    lines += ["What the numbers hold beside the maps:", ""]
    lines += [f"- {key}: {library.inside}." for key, library in LIBRARIES.items() if key in shown]
    lines += [*notes(each for each in outcomes if each.kind == "speed"), ""]
    for key, workload in WORKLOADS.items():
        cells = cells_of(outcomes, "speed", key)
        if columns_of(cells):
            framework = {"torch": "PyTorch", "paddle": "PaddlePaddle"}[workload.framework]
            lines += [f"### {framework}: {workload.words}", ""]
            lines += [f"A forward pass takes {number(forward_ms(cells).median)} ms. Wall time:", ""]
            lines += [*speed_table(cells, "wall_ratio", with_spread=True), "Process time, medians:", ""]
            lines += speed_table(cells, "process_ratio", with_spread=False)
    return lines


def _memory(outcomes: Sequence[Outcome]) -> list[str]:
    measured = [each for each in outcomes if each.kind == "memory" and each.status == "measured"]
    if not measured:
        return []
    device = measured[0].setting.device
    lines = ["## Memory", "", f"{MEMORY} Measured as: {how(device)}.", ""]
    for key, workload in WORKLOADS.items():
        cells = cells_of(measured, "memory", key)
        if cells:
            forward = forward_mib(cells).median
            lines += [f"### {workload.framework}: {workload.words}", ""]
            lines += [f"A forward pass takes {forward:.0f} MiB. MiB of the first call / of a later one:", ""]
            lines += memory_table(cells)
    return lines


def _growth(outcomes: Sequence[Outcome], pictures: Path) -> list[str]:
    lines = ["## Growth", "", GROWTH, ""]
    drawn = {path.name for path in draw_growth(outcomes, pictures)}
    for axis in AXES:
        table = growth_tables.curve(outcomes, axis)
        if table:
            names = [name for name in sorted(drawn) if name.startswith(f"performance_{axis}")]
            lines += [f"### {growth_tables.TITLES[axis].capitalize()}", ""]
            lines += [*(f"![Against {growth_tables.TITLES[axis]}](images/{name})" for name in names), "", *table]
    calls = growth_tables.calls(outcomes)
    if calls and draw_calls(outcomes, pictures / "performance_calls.svg"):
        lines += ["### First call, later calls, many calls", "", *calls]
        lines += ["![Time per call over many calls](images/performance_calls.svg)", ""]
    batches, imports = growth_tables.batches(outcomes), growth_tables.imports(outcomes)
    lines += ["### Together or one by one", "", *batches] if batches else []
    lines += ["### Importing", "", *imports] if imports else []
    return lines if len(lines) > 4 else []


def _gaps(outcomes: Sequence[Outcome]) -> list[str]:
    """Empty cells and workloads."""
    lines = ["## Not measured, and why", "", *reasons(outcomes, WORKLOADS)]
    measured = {each.workload for each in outcomes if each.kind == "speed"}
    for key, workload in WORKLOADS.items():
        if key not in measured:
            absent = missing(workload)
            lines += [f"- {key}: " + (f"{absent} is not installed where this page was made" if absent else "not run")]
    return [*lines, ""]
