"""Cost and peak memory along each axis, in one process per method."""

from dataclasses import replace
from typing import Any

from benchmarks.assignment import Assignment, Begun, Emit
from benchmarks.contest import blank, in_words
from benchmarks.frameworks.runtime import Runtime, runtime_for
from benchmarks.growth.points import Point
from benchmarks.images import images
from benchmarks.peak import PeakMeter
from benchmarks.timing import Budget, interleaved
from benchmarks.workloads import find_workload


def measure(assignment: Assignment, emit: Emit) -> None:
    """Measure points. Code is loaded, and what the library keeps is made, before each."""
    workload = find_workload(assignment.workload)
    setting = assignment.setting
    runtime = runtime_for(workload.framework, device=setting.device, threads=setting.threads)
    model = runtime.build(workload)
    usual = runtime.tensor(images(workload.shape))
    for job, library in assignment.cells:
        emit(Begun(job, library))
        point, outcome = Point.read(job), blank(assignment, job, library)
        batch = runtime.tensor(images(point.shape(workload.shape)))
        try:
            explained(model, usual, point.method, 1)
            found = _measured(runtime, model, batch, point, assignment.budget)
        except Exception as error:  # noqa: BLE001  # one point that fails is a gap in a curve, not the end of it
            emit(replace(outcome, status="refused", reason=in_words(error)))
            continue
        emit(replace(outcome, numbers=found[0], spreads=found[1]))


def explained(model: Any, batch: Any, method: str, classes: int, **options: Any) -> Any:
    """Explain the first so many classes."""
    from xai_med import Classes, explain

    return explain(model, batch, method=method, target=Classes(*range(classes)), **options)


def _measured(runtime: Runtime, model: Any, batch: Any, point: Point, budget: Budget) -> tuple[Any, Any]:
    def job() -> Any:
        return explained(model, batch, point.method, point.classes)

    def plain() -> Any:
        return runtime.forward(model, batch)

    plain()
    meter = PeakMeter(runtime)
    numbers = {"forward_mib": meter.peak_mib(plain), "first_mib": meter.peak_mib(job)}
    series, failures = interleaved({"job": job}, plain, budget, synchronise=runtime.synchronise)
    for error in failures.values():
        raise error
    return numbers, series["job"].summed_up()
