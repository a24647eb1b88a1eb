"""Interleaved timing: each run of a job follows a plain forward pass, to which it is compared."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.spread import Spread

Run = Callable[[], Any]


@dataclass(frozen=True)
class Sample:
    """One run.

    Parameters
    ----------
    wall_s : float
        What a user waits.
    process_s : float
        What all threads of this process computed; counts when the machine is busy.
    """

    wall_s: float
    process_s: float


@dataclass(frozen=True)
class Budget:
    """How often to measure.

    Parameters
    ----------
    least, most : int
        Rounds.
    seconds : float
        Of wall time that one contestant's jobs may take, once it has had the least rounds.
    """

    least: int = 3
    most: int = 40
    seconds: float = 8.0

    def allows(self, rounds: int, spent_s: float) -> bool:
        """Whether one more round is in order after so many, which took so long."""
        if rounds < self.least:
            return True
        return rounds < self.most and spent_s + spent_s / max(rounds, 1) <= self.seconds


@dataclass
class Series:
    """All rounds of one contestant: its job, and the plain forward pass just before."""

    jobs: list[Sample] = field(default_factory=list)
    plain: list[Sample] = field(default_factory=list)

    @property
    def spent_s(self) -> float:
        """Wall time of the jobs."""
        return sum(sample.wall_s for sample in self.jobs)

    def summed_up(self) -> dict[str, Spread]:
        """Seconds of the job and of a forward pass, and the ratios of each round, by wall and by process time."""
        pairs = list(zip(self.jobs, self.plain, strict=True))
        return {
            "wall_s": Spread.of([job.wall_s for job in self.jobs]),
            "process_s": Spread.of([job.process_s for job in self.jobs]),
            "forward_wall_s": Spread.of([plain.wall_s for plain in self.plain]),
            "forward_process_s": Spread.of([plain.process_s for plain in self.plain]),
            "wall_ratio": Spread.of([job.wall_s / plain.wall_s for job, plain in pairs]),
            "process_ratio": Spread.of([job.process_s / max(plain.process_s, 1e-9) for job, plain in pairs]),
        }


def timed(run: Run, synchronise: Run) -> Sample:
    """Time one run, from an idle device to an idle device; what it gave is let go of afterwards."""
    synchronise()
    wall, process = time.perf_counter(), time.process_time()
    result = run()
    synchronise()
    sample = Sample(time.perf_counter() - wall, time.process_time() - process)
    del result
    return sample


def interleaved(
    contestants: Mapping[str, Run], plain: Run, budget: Budget, *, synchronise: Run
) -> tuple[dict[str, Series], dict[str, Exception]]:
    """Measure all contestants by turns: forward, A, forward, B, ...; the next round begins with another one.

    Parameters
    ----------
    contestants : mapping of str to callable
        The jobs. All were run before, so that nothing is measured for the first time.
    plain : callable
        One plain forward pass.
    budget : Budget
        Of each contestant. Those that are slow drop out early; the others go on.
    synchronise : callable
        Waits for the device.

    Returns
    -------
    series : dict of str to Series
        Of those that did not fail.
    failures : dict of str to Exception
        Of the others.
    """
    series = {name: Series() for name in contestants}
    failures: dict[str, Exception] = {}
    gc.collect()
    gc.freeze()  # so that collecting between runs, outside of what is timed, takes no time
    try:
        for number in range(budget.most):
            names = [name for name in series if budget.allows(len(series[name].jobs), series[name].spent_s)]
            for name in names[number % len(names) :] + names[: number % len(names)] if names else ():
                gc.collect()
                before = timed(plain, synchronise)
                try:
                    job = timed(contestants[name], synchronise)
                except Exception as error:  # noqa: BLE001  # other libraries raise whatever they like
                    failures[name] = error
                    del series[name]
                    continue
                series[name].plain.append(before)
                series[name].jobs.append(job)
    finally:
        gc.unfreeze()
    return series, failures
