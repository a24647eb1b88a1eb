"""Two explanations that overlap without one being inside the other: each keeps to its own thread."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from xai_med import explain
from xai_med.registry import get_backend
from xai_med.testing import NETWORKS, example_input

PATIENCE_S = 60


def pausing(framework, inner, pause):
    """A model that waits in the middle of its forward pass."""
    if framework == "torch":
        base = pytest.importorskip("torch").nn.Module
    else:
        base = pytest.importorskip("paddle").nn.Layer

    class Pause(base):
        def forward(self, x):
            pause()
            return x * 2

    class Model(base):
        def __init__(self):
            super().__init__()
            self.pause = Pause()
            self.inner = inner

        def forward(self, x):
            return self.inner(self.pause(x) + 1)

    return Model()


@pytest.mark.parametrize("method", ["cam", "grad_cam", "gradient", "lrp"])
@pytest.mark.parametrize("framework", ["torch", "paddle"])
def test_the_first_to_begin_ends_first_and_both_maps_are_right(framework, method):
    backend, blueprint = get_backend(framework), NETWORKS["vgg_like"]()
    images = example_input(blueprint, 2)
    second_has_begun, first_has_ended = threading.Event(), threading.Event()

    def explained(pause, number):
        model = pausing(framework, backend.build(blueprint), pause)
        return explain(model, images[number : number + 1], method=method, target="all").attribution

    alone = [explained(lambda: None, number) for number in range(2)]

    def first():
        result = explained(lambda: second_has_begun.wait(PATIENCE_S), 0)
        first_has_ended.set()
        return result

    def in_the_second():
        second_has_begun.set()
        assert first_has_ended.wait(PATIENCE_S)

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.submit(first), pool.submit(lambda: explained(in_the_second, 1))
        np.testing.assert_array_equal(one.result(), alone[0])
        np.testing.assert_array_equal(other.result(), alone[1])
