"""Memory: each job of each library in a process of its own, beside a plain forward pass in the same process."""

import time
from dataclasses import replace
from statistics import median

from benchmarks.assignment import Assignment, Begun, Emit
from benchmarks.contest import Arena, blank, in_words, prepared
from benchmarks.frameworks.runtime import runtime_for
from benchmarks.images import images
from benchmarks.jobs import JOBS
from benchmarks.libraries.library import NotOfferedError, Run
from benchmarks.libraries.table import LIBRARIES
from benchmarks.peak import PeakMeter
from benchmarks.workloads import TINY, find_workload

REPEATS = 3
SLOW_S = 10.0
"""Jobs that take longer are not repeated."""


def measure(assignment: Assignment, emit: Emit) -> None:
    """Measure the one cell of an assignment.

    The job is run on a tiny network first, so that code that is loaded on the first call does not count as memory of
    the job; then once on the model, with all that it keeps; then some times again.
    """
    ((job, library),) = assignment.cells
    emit(Begun(job, library))
    workload = find_workload(assignment.workload)
    setting = assignment.setting
    runtime = runtime_for(workload.framework, device=setting.device, threads=setting.threads)
    outcome = blank(assignment, job, library)
    tiny = TINY[workload.framework]
    rehearsal = Arena(tiny, runtime, runtime.tensor(images(tiny.shape)))
    rehearsed, tried = prepared(job, library, rehearsal.subject(library), outcome)
    if (
        tried.status in ("absent", "not offered")
        and rehearsed is None
        and tried.reason in ("not installed", "not offered")
    ):
        emit(tried)
        return
    del rehearsal, rehearsed
    arena = Arena(workload, runtime, runtime.tensor(images(workload.shape)))
    arena.plain()
    meter = PeakMeter(runtime)
    forward = _usual(meter, arena.plain, REPEATS)
    try:
        run = LIBRARIES[library].prepare(JOBS[job], arena.subject(library, own_copy=False)).run
        begun = time.perf_counter()
        first = meter.peak_mib(run)
        later = _usual(meter, run, REPEATS if time.perf_counter() - begun < SLOW_S else 1)
    except NotOfferedError as error:
        emit(replace(outcome, status="not offered", reason=str(error)))
        return
    except Exception as error:  # noqa: BLE001  # other libraries raise whatever they like
        emit(replace(outcome, status="refused", reason=in_words(error)))
        return
    emit(replace(outcome, numbers={"forward_mib": forward, "first_mib": first, "later_mib": later}))


def _usual(meter: PeakMeter, work: Run, times: int) -> float:
    """The median peak of several times."""
    return median(meter.peak_mib(work) for _ in range(times))
