"""Applies deliberate faults one at a time to a copy of the code and runs the tests that must notice.

    python tests/mutation/run.py [--all-tests] [--list] [name ...]

A fault is *caught* if a test fails with it that passes without it. The exit status is 0 if all were caught.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("xai_med", "backends", "benchmarks", "tests", "docs", "scripts", "pyproject.toml", "README.md", "CHANGELOG.md")
ANOTHER_CODE = 90
"""Exit status where the tests would not run on the copy."""

# an editable installation is found behind PYTHONPATH; that the copy is what is imported is checked all the same
_PYTEST = f"""
import importlib.util, os, sys
for name in ("xai_med", "xai_med_torch", "xai_med_paddle"):
    if not importlib.util.find_spec(name).origin.startswith(os.getcwd() + os.sep):
        sys.exit({ANOTHER_CODE})
import pytest
class Tell:
    def pytest_runtest_logreport(self, report):
        if report.failed:
            print("FAILED TEST", report.nodeid, file=sys.__stderr__)
sys.exit(pytest.main(sys.argv[1:], plugins=[Tell()]))
"""


def copied(to: Path) -> Path:
    """Copy what tests need to a folder."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, to / part, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        elif source.is_file():
            shutil.copy2(source, to / part)
    return to


def applied(fault: Fault, folder: Path) -> None:
    """Put a fault into a copy.

    Raises
    ------
    ValueError
        Its text does not occur exactly once.
    """
    path = folder / fault.file
    text = path.read_text(encoding="utf-8")
    if text.count(fault.text) != 1:
        raise ValueError(f"{fault.name}: the text occurs {text.count(fault.text)} times in {fault.file}, not once")
    path.write_text(text.replace(fault.text, fault.replacement), encoding="utf-8")


def run_tests(folder: Path, tests: Iterable[str]) -> subprocess.CompletedProcess[str]:
    """Run tests on the code in a folder, up to the first failure."""
    paths = [str(folder), str(folder / "backends")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", _PYTEST, "-x", "-q", "--tb=line", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def verdict(fault: Fault, pristine: Path, *, all_tests: bool = False) -> tuple[bool, str]:
    """Whether a fault is caught, and by which test or why not.

    Parameters
    ----------
    fault : Fault
        To apply.
    pristine : Path
        A copy without faults.
    all_tests : bool
        Run every test, not only those that are expected to notice.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "code"
        shutil.copytree(pristine, folder)
        try:
            applied(fault, folder)
        except ValueError as error:
            return False, f"cannot be applied: {error}"
        result = run_tests(folder, ("tests",) if all_tests else fault.tests)
    if result.returncode == 0:
        return False, "SURVIVED"
    failed = re.search(r"^FAILED TEST (.+)$", result.stderr, re.MULTILINE)
    if result.returncode != 1 or failed is None:
        output = result.stdout[-2000:] + result.stderr[-2000:]
        return False, f"could not be tested (status {result.returncode}):\n{output}"
    test = failed.group(1).split("[")[0]  # with all its parameters, which may hold what a command line cannot
    if run_tests(pristine, (test,)).returncode != 0:
        return False, f"proves nothing: {test} fails without the fault too"
    return True, f"caught by {failed.group(1)}"


def main(arguments: list[str] | None = None) -> int:
    """Run the faults that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help="faults to run; all by default")
    parser.add_argument("--all-tests", action="store_true", help="run every test, not only the expected ones")
    parser.add_argument("--list", action="store_true", help="print the faults and what they break")
    given = parser.parse_args(arguments)
    known = {fault.name: fault for fault in FAULTS}
    unknown = [name for name in given.names if name not in known]
    if unknown:
        parser.error(f"there is no fault {', '.join(unknown)}; --list prints them")
    if given.list:
        print("\n".join(f"{fault.name}: {fault.breaks} ({fault.file})" for fault in FAULTS))
        return 0
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        pristine = copied(Path(name) / "pristine")
        for fault in [known[name] for name in given.names] or FAULTS:
            begun = time.monotonic()
            is_caught, how = verdict(fault, pristine, all_tests=given.all_tests)
            missed += not is_caught
            print(
                f"{'caught' if is_caught else 'MISSED'}  {fault.name} ({time.monotonic() - begun:.0f} s): {how}",
                flush=True,
            )
    print(f"{len(given.names) or len(FAULTS)} faults, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
