"""Runs assignments in processes of their own; one that ends early becomes a reason, and the rest goes on."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from benchmarks.assignment import EVERYBODY, Assignment, Begun, Cell, Event, read_event
from benchmarks.contest import blank
from benchmarks.machine import ROOT
from benchmarks.outcome import Outcome
from benchmarks.store import Store

LOOKING_S = 0.5
"""How often to look whether a process has said something; seldom, so as not to disturb it."""
_GPUS: Mapping[str, str] = MappingProxyType(
    {
        "torch": "import torch; print(torch.cuda.is_available())",
        "paddle": "import paddle; print(paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0)",
    }
)


@lru_cache
def has_gpu(framework: str) -> bool:
    """Whether a framework sees a GPU; asked in another process, as this one imports no framework."""
    command = [sys.executable, "-W", "ignore", "-c", _GPUS[framework]]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.returncode == 0 and asked.stdout.strip().endswith("True")


def environment(threads: int) -> dict[str, str]:
    """Of a process that measures: this one's, so many threads, and this package to be found.

    The threads of NumPy's BLAS sleep as soon as they are done. They would wait busily else, for a tenth of a second,
    and whoever runs next would be charged for them.
    """
    found = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    found.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    found["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
    return found


def carry_out(assignment: Assignment, store: Store, tell: Callable[[Outcome], None]) -> None:
    """Measure all cells of an assignment; each outcome is stored and told at once.

    A process that ends early leaves the cell that it was at as crashed, and another one goes on with the rest.
    """
    pending = set(assignment.cells)
    while pending:
        left = replace(assignment, cells=tuple(cell for cell in assignment.cells if cell in pending))
        for outcome in _one_process(left):
            store.add([outcome])
            tell(outcome)
            pending.discard((outcome.job, outcome.library))


def _one_process(assignment: Assignment) -> Iterator[Outcome]:
    """What one process says, and at least one outcome."""
    unfinished = list(assignment.cells)
    begun: Begun | None = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _started(assignment, folder) as process:
            for event in _events(process, folder / "events"):
                if isinstance(event, Begun):
                    begun = event
                else:
                    unfinished = [cell for cell in unfinished if cell != (event.job, event.library)]
                    yield event
        reason = f"the process ended with {process.returncode}: {_last_line(folder / 'errors')}"
    for cell in unfinished if process.returncode == 0 else _interrupted(unfinished, begun):
        yield replace(blank(assignment, *cell), status="crashed", reason=reason)


def _started(assignment: Assignment, folder: Path) -> subprocess.Popen[bytes]:
    (folder / "assignment").write_text(assignment.to_json(), encoding="utf-8")
    (folder / "events").touch()
    command = [sys.executable, "-m", "benchmarks.worker", str(folder / "assignment"), str(folder / "events")]
    with (folder / "errors").open("wb") as errors:
        return subprocess.Popen(command, env=environment(assignment.setting.threads), stdout=errors, stderr=errors)


def _events(process: subprocess.Popen[bytes], path: Path) -> Iterator[Event]:
    """Whole lines as they come, until the process has ended."""
    with path.open(encoding="utf-8") as stream:
        part = ""
        while True:
            has_ended = process.poll() is not None
            for line in iter(stream.readline, ""):
                part += line
                if part.endswith("\n"):
                    yield read_event(part)
                    part = ""
            if has_ended:
                return
            time.sleep(LOOKING_S)


def _interrupted(unfinished: list[Cell], begun: Begun | None) -> list[Cell]:
    """The cells that a process was at when it ended: one, or all of a job; all, if it had not begun."""
    if begun is None:
        return unfinished
    if begun.library == EVERYBODY:
        return [cell for cell in unfinished if cell[0] == begun.job]
    return [cell for cell in unfinished if cell == (begun.job, begun.library)] or unfinished


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "no message"
