"""Seconds that importing takes, in fresh processes."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from benchmarks.assignment import Assignment
from benchmarks.contest import blank
from benchmarks.libraries.table import OURS
from benchmarks.outcome import Outcome
from benchmarks.processes import environment
from benchmarks.spread import Spread

STATEMENTS: Mapping[str, str] = MappingProxyType(
    {"import": "import xai_med", "import_explain": "from xai_med import explain"}
)
_PROGRAM = "import time; begun = time.perf_counter(); {statement}; print(time.perf_counter() - begun)"


def measured(assignment: Assignment, times: int) -> list[Outcome]:
    """Import so often, after one time that reads the files from the disk.

    Raises
    ------
    subprocess.CalledProcessError
        It cannot be imported.
    """
    found = []
    for key, statement in STATEMENTS.items():
        seconds = [_once(statement, assignment.setting.threads) for _ in range(times + 1)][1:]
        found.append(replace(blank(assignment, key, OURS), spreads={"wall_s": Spread.of(seconds)}))
    return found


def _once(statement: str, threads: int) -> float:
    command = [sys.executable, "-c", _PROGRAM.format(statement=statement)]
    ran = subprocess.run(command, env=environment(threads), capture_output=True, text=True, check=True)
    return float(ran.stdout)
