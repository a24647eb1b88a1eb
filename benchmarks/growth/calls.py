"""The first call, later calls, and whether the thousandth costs what the tenth does."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.assignment import Assignment, Begun, Emit
from benchmarks.contest import blank, in_words
from benchmarks.frameworks.runtime import Runtime, runtime_for
from benchmarks.growth.curves import explained
from benchmarks.images import images
from benchmarks.peak import PeakMeter
from benchmarks.spread import Spread
from benchmarks.timing import timed
from benchmarks.workloads import TINY, Workload, find_workload

LATER = 5
WINDOWS = 10


def measure(assignment: Assignment, emit: Emit) -> None:
    """Measure one method in a fresh process: the first calls on a real network, many on a tiny one."""
    ((method, library),) = assignment.cells
    emit(Begun(method, library))
    workload = find_workload(assignment.workload)
    setting = assignment.setting
    runtime = runtime_for(workload.framework, device=setting.device, threads=setting.threads)
    outcome = blank(assignment, method, library)
    try:
        numbers, spreads = _first_calls(runtime, workload, method)
        calls = int(assignment.options["calls"])
        memory_mib, windows = _many_calls(runtime, TINY[workload.framework], method, calls)
    except Exception as error:  # noqa: BLE001  # noted, as everywhere
        emit(replace(outcome, status="refused", reason=in_words(error)))
        return
    numbers |= {"calls": calls, "memory_mib": memory_mib}
    emit(replace(outcome, numbers=numbers, spreads={**spreads, **windows}))


def _first_calls(runtime: Runtime, workload: Workload, method: str) -> tuple[dict[str, float], dict[str, Spread]]:
    """Seconds of the first call, which loads code and fills caches, and of later ones."""
    model, batch = runtime.build(workload), runtime.tensor(images(workload.shape))
    runtime.forward(model, batch)
    begun = time.perf_counter()
    explained(model, batch, method, 1)
    runtime.synchronise()
    numbers = {"first_s": round(time.perf_counter() - begun, 5)}
    later = [timed(lambda: explained(model, batch, method, 1), runtime.synchronise).wall_s for _ in range(LATER)]
    plain = [timed(lambda: runtime.forward(model, batch), runtime.synchronise).wall_s for _ in range(LATER)]
    return numbers, {"later_s": Spread.of(later), "forward_s": Spread.of(plain)}


def _many_calls(runtime: Runtime, tiny: Workload, method: str, calls: int) -> tuple[float, dict[str, Spread]]:
    """MiB that many calls leave behind, and seconds of each tenth of them."""
    model, batch = runtime.build(tiny), runtime.tensor(images(tiny.shape))

    def call() -> Any:
        return explained(model, batch, method, 1)

    size = max(1, calls // WINDOWS)
    _repeated(call, runtime, size)  # fills caches and pools
    meter = PeakMeter(runtime)
    windows = {f"tenth {number}": _repeated(call, runtime, size) for number in range(1, WINDOWS + 1)}
    return meter.kept_mib(), windows


def _repeated(call: Callable[[], Any], runtime: Runtime, times: int) -> Spread:
    return Spread.of([timed(call, runtime.synchronise).wall_s for _ in range(times)])
