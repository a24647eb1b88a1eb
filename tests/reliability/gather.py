"""Collects what every library made of every case, through worker processes."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from reliability.cases import CASES
from reliability.runner import Outcome
from reliability.verdict import Kind, Verdict

_TESTS = Path(__file__).resolve().parents[1]


def gather(name: str) -> list[Outcome]:
    """All cases for one library; where a case ends the process, the next process goes on behind it.

    Raises
    ------
    RuntimeError
        The worker itself failed, not the library.
    """
    outcomes: list[Outcome] = []
    while len(outcomes) < len(CASES):
        found, status, errors = _work(name, len(outcomes))
        outcomes += found
        if status > 0:
            raise RuntimeError(f"the worker of {name} failed after {len(outcomes)} cases:\n{errors}")
        if status < 0:
            case = CASES[len(outcomes)]
            how = (
                "did not return" if -status == signal.SIGALRM else f"ended the process: {signal.Signals(-status).name}"
            )
            outcomes.append(Outcome(case, {"all": Verdict(Kind.UNCLEAR, how)}))
    return outcomes


def _work(name: str, first: int) -> tuple[list[Outcome], int, str]:
    paths = os.pathsep.join(filter(None, [str(_TESTS), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryFile("w+") as errors:
        worker = subprocess.run(
            [sys.executable, "-m", "reliability.worker", name, str(first)],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": paths},
            text=True,
            check=False,
        )
        errors.seek(0)
        said = errors.read()
    lines = [json.loads(line) for line in worker.stdout.splitlines()]
    by_name = {case.name: case for case in CASES}
    found = [
        Outcome(by_name[line["case"]], {m: Verdict(Kind(kind), why) for m, (kind, why) in line["verdicts"].items()})
        for line in lines
        if "case" in line
    ]
    return found, worker.returncode, said[-3000:]
