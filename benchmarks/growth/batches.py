"""Images together and one by one: time per image, and whether the maps are the same."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.assignment import Assignment, Begun, Emit
from benchmarks.contest import blank, in_words
from benchmarks.frameworks.runtime import Runtime, runtime_for
from benchmarks.growth.curves import explained
from benchmarks.growth.points import CLASSES
from benchmarks.images import images
from benchmarks.spread import Spread
from benchmarks.timing import Budget, Series, interleaved
from benchmarks.workloads import find_workload

PRECISE = 4
"""Images that are compared in double precision."""


def measure(assignment: Assignment, emit: Emit) -> None:
    """Measure methods, one after the other."""
    workload = find_workload(assignment.workload)
    setting = assignment.setting
    runtime = runtime_for(workload.framework, device=setting.device, threads=setting.threads)
    model = runtime.build(workload)
    size = int(assignment.options["images"])
    batch = runtime.tensor(images((size, *workload.shape[1:])))
    for method, library in assignment.cells:
        emit(Begun(method, library))
        outcome = blank(assignment, method, library)
        try:
            numbers = {"images": size, **_differences(model, batch, method)}
            spreads = _times(runtime, model, batch, method, assignment.budget)
        except Exception as error:  # noqa: BLE001  # noted, as everywhere
            emit(replace(outcome, status="refused", reason=in_words(error)))
            continue
        emit(replace(outcome, numbers=numbers, spreads=spreads))


def _times(runtime: Runtime, model: Any, batch: Any, method: str, budget: Budget) -> dict[str, Spread]:
    """Seconds per image, and the ratio of each round."""
    size = len(batch)
    singles = [batch[n : n + 1] for n in range(size)]
    runs = {
        "together": lambda: explained(model, batch, method, CLASSES),
        "singly": lambda: [explained(model, single, method, CLASSES) for single in singles],
    }
    series, failures = interleaved(runs, lambda: runtime.forward(model, batch), budget, synchronise=runtime.synchronise)
    for error in failures.values():
        raise error
    walls = {name: _walls(found) for name, found in series.items()}
    ratios = [together / singly for together, singly in zip(walls["together"], walls["singly"], strict=False)]
    per_image = {f"{name}_s": Spread.of([wall / size for wall in found]) for name, found in walls.items()}
    return {**per_image, "wall_ratio": Spread.of(ratios)}


def _walls(series: Series) -> list[float]:
    return [sample.wall_s for sample in series.jobs]


def _differences(model: Any, batch: Any, method: str) -> dict[str, float]:
    """Largest and usual difference of a map, relative to its largest value, in single and double precision."""
    found: dict[str, float] = {}
    for dtype, size in (("float32", len(batch)), ("float64", min(PRECISE, len(batch)))):
        together = explained(model, batch[:size], method, CLASSES, dtype=dtype).attribution
        singly = [explained(model, batch[n : n + 1], method, CLASSES, dtype=dtype).attribution for n in range(size)]
        largest, usual = _relative(together, singly)
        found |= {f"largest_{dtype}": largest, f"usual_{dtype}": usual}
    return found


def _relative(together: Any, singly: Sequence[Any]) -> tuple[float, float]:
    apart = np.concatenate(singly)
    axes = tuple(range(2, apart.ndim))
    scale = np.maximum(np.abs(apart).max(axis=axes), np.finfo(np.float32).tiny)
    relative = np.abs(together - apart).max(axis=axes) / scale
    return float(f"{relative.max():.3g}"), float(f"{np.median(relative):.3g}")
