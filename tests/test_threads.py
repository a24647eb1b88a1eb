"""Threads that share a model: each gets exactly its own maps, and the trouble of one is no other's."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from reliability.net import images, plain
from reliability.subjects import kit

from xai_med import explain

METHODS = ("cam", "grad_cam", "gradient", "lrp", "clear")
THREADS = 8
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")


@pytest.fixture(params=["torch", "paddle"])
def framework(request: pytest.FixtureRequest):
    """Each framework that is installed."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return kit(request.param)


class InUserCodeError(Exception):
    """Raised by the caller's model."""


def explained(model: Any, x: Any, method: str) -> np.ndarray:
    """The attribution of class 1."""
    return explain(model, x, method=method, target=1, keep_input=False).attribution


def assert_own(found: np.ndarray, wanted: np.ndarray) -> None:
    """The serial map; blocked sums may be rounded otherwise."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def in_threads(calls: list[Callable[[], Any]], *, prefix: str = "worker") -> list[Future[Any]]:
    """Start all calls at the same moment, each in a thread of its own."""
    together = threading.Barrier(len(calls))

    def started(call: Callable[[], Any]) -> Any:
        together.wait(timeout=30)
        return call()

    with ThreadPoolExecutor(len(calls), thread_name_prefix=prefix) as pool:
        return [pool.submit(started, call) for call in calls]


@pytest.mark.parametrize("method", METHODS)
def test_eight_threads_get_exactly_their_own_maps(framework, method):
    net = plain(framework)
    inputs = [framework.tensor(images(seed=seed)) for seed in range(THREADS)]
    serial = [explained(net.model, x, method) for x in inputs]
    before = framework.state(net.model)
    for _ in range(3):
        futures = in_threads([lambda x=x: explained(net.model, x, method) for x in inputs])
        for future, wanted in zip(futures, serial, strict=True):
            assert_own(future.result(), wanted)
    assert framework.state(net.model) == before


def test_eight_threads_of_different_methods_and_a_model_in_training_mode(framework):
    net = plain(framework)
    asked = [(METHODS[n % len(METHODS)], framework.tensor(images(2, seed=n))) for n in range(THREADS)]
    serial = [explained(net.model, x, method) for method, x in asked]
    net.model.train()
    net.model.relu2.eval()
    flags = [module.training for module in framework.modules(net.model)]
    futures = in_threads([lambda m=m, x=x: explained(net.model, x, m) for m, x in asked])
    for future, wanted in zip(futures, serial, strict=True):
        assert_own(future.result(), wanted)
    assert [module.training for module in framework.modules(net.model)] == flags


@pytest.mark.parametrize("error", [InUserCodeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("method", METHODS)
def test_an_error_in_one_threads_forward_disturbs_no_other(framework, method, error):
    net = plain(framework)
    net.model.train()
    inputs = [framework.tensor(images(seed=seed)) for seed in range(THREADS)]
    serial = [explained(net.model, x, method) for x in inputs]
    before, flags = framework.state(net.model), [module.training for module in framework.modules(net.model)]
    doomed, others_run = threading.local(), threading.Event()

    def raises(*_: Any) -> None:
        if getattr(doomed, "is_here", False):
            others_run.wait(timeout=0.5)  # so that the others are in the middle of theirs
            raise error("from the caller's code")
        others_run.set()

    def doomed_call() -> None:
        doomed.is_here = True
        explained(net.model, inputs[0], method)

    handle = framework.before(net.model.conv2, raises)
    calls = [lambda x=x: explained(net.model, x, method) for x in inputs[1:]]
    first, *others = in_threads([doomed_call, *calls])
    handle.remove()
    assert isinstance(first.exception(), error)
    for future, wanted in zip(others, serial[1:], strict=True):
        assert_own(future.result(), wanted)
    assert framework.state(net.model) == before
    assert [module.training for module in framework.modules(net.model)] == flags
    assert_own(explained(net.model, inputs[0], method), serial[0])


@pytest.mark.parametrize("method", ["lrp", "clear", "grad_cam"])
def test_a_thread_that_only_uses_the_model_is_not_intercepted(framework, method):
    net = plain(framework)
    x = framework.tensor(images(seed=3))

    def used() -> tuple[np.ndarray, np.ndarray]:
        own = framework.leaf(images(seed=4))
        logits = net.model(own)
        logits.square().sum().backward()
        return framework.array(logits), framework.array(own.grad)

    def used_often() -> list[tuple[np.ndarray, np.ndarray]]:
        return [used() for _ in range(20)]

    def explained_often() -> list[np.ndarray]:
        return [explained(net.model, x, method) for _ in range(20)]

    framework.freeze(net.model)  # gradients of weights are sums that all threads share
    (logits, slopes), maps = used(), explained(net.model, x, method)
    users, explainers = [used_often] * 2, [explained_often] * 2
    futures = in_threads([*users, *explainers])
    for future in futures[:2]:
        for found in future.result():
            assert_own(found[0], logits)
            assert_own(found[1], slopes)
    for future in futures[2:]:
        for found in future.result():
            assert_own(found, maps)


def test_both_frameworks_at_the_same_time():
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    kits = [kit("torch"), kit("paddle")] * 2
    nets = [plain(each) for each in kits]
    inputs = [each.tensor(images(seed=n)) for n, each in enumerate(kits)]
    for method in METHODS:
        serial = [explained(net.model, x, method) for net, x in zip(nets, inputs, strict=True)]
        calls = [lambda n=net, x=x, m=method: explained(n.model, x, m) for net, x in zip(nets, inputs, strict=True)]
        for future, wanted in zip(in_threads(calls), serial, strict=True):
            assert_own(future.result(), wanted)
