"""Every claim about libraries that explain models, put to ours in each framework: right, or refused in words."""

import pytest
from reliability.cases import CASES
from reliability.runner import failures, run
from reliability.subject import Subject
from reliability.subjects import load

# Paddle says so whenever a batch norm trains that was frozen before
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")


@pytest.fixture(params=["torch", "paddle"])
def subject(request: pytest.FixtureRequest) -> Subject:
    """Our library in each framework that is installed."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return load(request.param)


@pytest.mark.parametrize("case", CASES, ids=[case.name.replace(" ", "_") for case in CASES])
def test_the_case_is_right_or_refused(subject, case):
    outcome = run(case, subject)
    if not outcome.by_method:
        pytest.skip(f"does not exist in {subject.kit.name}")
    assert not failures(outcome), case.sentence
