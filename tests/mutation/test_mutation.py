"""The list of deliberate faults stays in step with the code, and the runner tells a caught one from a survivor."""

import subprocess
import sys
from pathlib import Path

import pytest
from faults import FAULTS

ROOT = Path(__file__).resolve().parents[2]
RUNNER = ROOT / "tests" / "mutation" / "run.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(RUNNER), *arguments], capture_output=True, text=True, check=False)


def test_there_are_at_least_twenty_faults_of_different_names():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 20


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_text_of_each_fault_occurs_once(fault):
    assert (ROOT / fault.file).read_text(encoding="utf-8").count(fault.text) == 1
    assert fault.replacement != fault.text
    assert all((ROOT / test.split("::")[0]).is_file() for test in fault.tests)


def test_a_fault_in_resizing_is_caught():
    result = run("corners_aligned")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "caught  corners_aligned" in result.stdout
    assert "1 faults, 0 missed" in result.stdout


def test_a_fault_that_no_test_notices_is_reported(tmp_path):
    program = (
        f"import sys; sys.path.insert(0, {str(RUNNER.parent)!r}); import run; from dataclasses import replace; "
        "from faults import FAULTS; fault = next(f for f in FAULTS if f.name == 'corners_aligned'); "
        "run.FAULTS = (replace(fault, replacement=fault.text + '        pass\\n'),); sys.exit(run.main([]))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "MISSED  corners_aligned" in result.stdout
    assert "SURVIVED" in result.stdout


def test_an_unknown_name_is_refused():
    result = run("no_such_fault")
    assert result.returncode == 2
    assert "there is no fault no_such_fault; --list prints them" in result.stderr
