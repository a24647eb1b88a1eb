"""Memory is flat: a thousand explanations leave nothing behind."""

import gc
from pathlib import Path
from typing import Any

import pytest
from reliability.net import images, plain
from reliability.subjects import kit

from xai_med import explain

METHODS = ("cam", "grad_cam", "gradient", "lrp", "clear")
CALLS = 1000
STATM = Path("/proc/self/statm")
PAGE = 4096
MEBIBYTE = 2**20


@pytest.fixture(params=["torch", "paddle"])
def framework(request: pytest.FixtureRequest):
    """Each framework that is installed."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return kit(request.param)


def resident() -> int:
    """Bytes of this process in memory, 0 where the system does not tell."""
    return int(STATM.read_text().split()[1]) * PAGE if STATM.exists() else 0


def explain_often(model: Any, x: Any, calls: int) -> None:
    """All methods in turn."""
    for number in range(calls):
        explain(model, x, method=METHODS[number % len(METHODS)], target=1)


@pytest.mark.slow
def test_a_thousand_explanations_leave_no_tensor_and_no_memory_behind(framework):
    net = plain(framework)
    x = framework.tensor(images(space=(64, 64)))  # 32 kB: one copy kept at each call would be 32 MB
    explain_often(net.model, x, 100)  # fills caches and the allocator's pools
    tensors, things, memory = framework.living(), len(gc.get_objects()), resident()
    explain_often(net.model, x, CALLS)
    assert framework.living() == tensors
    # Paddle 3.3 itself forgets one list of argument names for each tensor that is made from an array
    assert len(gc.get_objects()) - things < (20 * CALLS if framework.name == "paddle" else 100)
    assert resident() - memory < 16 * MEBIBYTE


@pytest.mark.slow
def test_a_thousand_refusals_leave_no_tensor_and_no_memory_behind(framework):
    net = plain(framework)
    x = framework.tensor(images(space=(64, 64)))

    def refused(calls: int) -> None:
        for number in range(calls):
            with pytest.raises(Exception, match="class 7 was asked for"):
                explain(net.model, x, method=METHODS[number % len(METHODS)], target=7)

    refused(100)
    tensors, memory = framework.living(), resident()
    refused(CALLS)
    assert framework.living() == tensors
    assert resident() - memory < 16 * MEBIBYTE
