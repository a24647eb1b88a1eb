"""Speed: all libraries' jobs and plain forward passes by turns, in one process per workload."""

from collections.abc import Mapping
from dataclasses import replace

from benchmarks.assignment import EVERYBODY, Assignment, Begun, Emit
from benchmarks.contest import Arena, blank, in_words, prepared
from benchmarks.frameworks.runtime import runtime_for
from benchmarks.images import images
from benchmarks.libraries.library import Prepared
from benchmarks.machine import load
from benchmarks.outcome import Outcome
from benchmarks.timing import interleaved
from benchmarks.workloads import find_workload


def measure(assignment: Assignment, emit: Emit) -> None:
    """Measure the cells of one workload, job by job."""
    workload = find_workload(assignment.workload)
    setting = assignment.setting
    runtime = runtime_for(workload.framework, device=setting.device, threads=setting.threads)
    arena = Arena(workload, runtime, runtime.tensor(images(workload.shape)))
    arena.plain()
    for job in dict.fromkeys(job for job, _ in assignment.cells):
        ready: dict[str, tuple[Prepared, Outcome]] = {}
        for library in (library for of, library in assignment.cells if of == job):
            emit(Begun(job, library))
            candidate, outcome = prepared(job, library, arena.subject(library), blank(assignment, job, library))
            if candidate is None:
                emit(outcome)
            else:
                ready[library] = candidate, outcome
        emit(Begun(job, EVERYBODY))
        for outcome in _side_by_side(arena, ready, assignment):
            emit(outcome)


def _side_by_side(arena: Arena, ready: Mapping[str, tuple[Prepared, Outcome]], assignment: Assignment) -> list[Outcome]:
    runs = {library: candidate.run for library, (candidate, _) in ready.items()}
    before = load()
    series, failures = interleaved(runs, arena.plain, assignment.budget, synchronise=arena.runtime.synchronise)
    loads = {"load_before": round(before, 2), "load_after": round(load(), 2)}
    found = []
    for library, (_, outcome) in ready.items():
        if library in failures:
            found.append(replace(outcome, status="refused", reason=in_words(failures[library])))
        else:
            numbers = {**outcome.numbers, **loads}
            found.append(replace(outcome, numbers=numbers, spreads=series[library].summed_up()))
    return found
