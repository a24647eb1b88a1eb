"""Libraries and the jobs that they are tried at."""

import time
from dataclasses import replace
from typing import Any

from benchmarks.assignment import Assignment
from benchmarks.frameworks.runtime import Runtime, is_there
from benchmarks.jobs import JOBS
from benchmarks.libraries.library import NotOfferedError, Prepared, Subject
from benchmarks.libraries.table import LIBRARIES, is_ours, version_of
from benchmarks.machine import code_digest
from benchmarks.outcome import Outcome
from benchmarks.workloads import Workload

LONGEST_REASON = 300


def version_key(library: str) -> str:
    """Version of a library; of ours, with a digest of the code."""
    version = version_of(LIBRARIES[library].distribution)
    return f"{version} {code_digest()}" if is_ours(library) else version


def blank(assignment: Assignment, job: str, library: str) -> Outcome:
    """An outcome without numbers yet."""
    return Outcome(
        kind=assignment.kind,
        workload=assignment.workload,
        job=job,
        library=library,
        version=version_key(library),
        setting=assignment.setting,
        status="measured",
        run=assignment.run,
    )


def in_words(error: BaseException) -> str:
    """An exception on one line, not too long."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"


class Arena:
    """One model and batch, and a copy of the model for each library: some replace modules or leave hooks behind."""

    def __init__(self, workload: Workload, runtime: Runtime, images: Any) -> None:
        self.workload, self.runtime, self.images = workload, runtime, images
        self.model = runtime.build(workload)
        self._ours: Any = None

    def plain(self) -> Any:
        """One plain forward pass."""
        return self.runtime.forward(self.model, self.images)

    def subject(self, library: str, *, own_copy: bool = True) -> Subject:
        """What a library explains; ours keeps its copy from job to job, as it leaves nothing behind."""
        if not own_copy:
            model = self.model
        elif is_ours(library):
            if self._ours is None:
                self._ours = self.runtime.copied(self.model)
            model = self._ours
        else:
            model = self.runtime.copied(self.model)
        return Subject(self.workload, model, self.images, self.runtime)


def prepared(job: str, library: str, subject: Subject, outcome: Outcome) -> tuple[Prepared | None, Outcome]:
    """Make a job ready and run it once; where that fails, the outcome says why.

    Returns
    -------
    prepared : Prepared or None
    outcome : Outcome
        With the time of the first run.
    """
    offered = LIBRARIES[library]
    if not is_there(offered.module):
        return None, replace(outcome, status="absent", reason="not installed")
    try:
        ready = offered.prepare(JOBS[job], subject)
        begun = time.perf_counter()
        ready.run()
        subject.runtime.synchronise()
        first_s = time.perf_counter() - begun
    except NotOfferedError as error:
        return None, replace(outcome, status="not offered", reason=str(error))
    except Exception as error:  # noqa: BLE001  # other libraries raise whatever they like
        return None, replace(outcome, status="refused", reason=in_words(error))
    return ready, replace(outcome, note=ready.note, numbers={"first_s": float(f"{first_s:.5g}")})
