"""Models that write into their own tensors while they run: counters, running averages, caches."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from xai_med import explain

IMAGES = np.random.default_rng(3).normal(size=(2, 2, 5, 4)).astype("float32")
METHODS = ("cam", "grad_cam", "gradient", "lrp", "clear")


def torch_model(write):
    import torch

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(1)
            self.conv, self.head = torch.nn.Conv2d(2, 3, 3), torch.nn.Linear(3, 2)
            self.register_buffer("seen", torch.zeros(4))

        def forward(self, x):
            features = torch.relu(self.conv(x))
            if write:
                write(self, features.detach().mean((0, 2, 3)))
            return self.head(features.mean((2, 3)))

    return Network().eval()


def paddle_model(write):
    import paddle

    class Network(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            paddle.seed(1)
            self.conv, self.head = paddle.nn.Conv2D(2, 3, 3), paddle.nn.Linear(3, 2)
            self.register_buffer("seen", paddle.zeros([4]))

        def forward(self, x):
            features = paddle.nn.functional.relu(self.conv(x))
            if write:
                write(self, features.detach().mean((0, 2, 3)))
            return self.head(features.mean((2, 3)))

    model = Network()
    model.eval()
    return model


MODELS = {"torch": torch_model, "paddle": paddle_model}


def replaced(model, mean):
    model.seen = model.seen * 0.9 + mean.sum()


def item(model, mean):
    model.seen[:3] = mean


def added(model, mean):
    model.seen.add_(mean.sum() + model.seen)


def copied(model, mean):
    model.seen.set_value(mean.sum() + model.seen) if hasattr(model.seen, "set_value") else model.seen.copy_(mean.sum())


WRITES = {"replaced": replaced, "item assignment": item, "in place": added, "copied": copied}


def state(model):
    return {name: np.array(tensor.detach().numpy()) for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", WRITES)
def test_what_a_model_writes_into_itself_is_taken_back(name, method, backend):
    model = MODELS[backend.name](WRITES[name])
    before, buffer = state(model), model.seen
    explain(model, IMAGES, method=method, target="all")
    assert model.seen is buffer
    after = state(model)
    assert before.keys() == after.keys()
    for key in before:
        assert_array_equal(after[key], before[key])


@pytest.mark.parametrize("name", WRITES)
def test_it_is_taken_back_where_the_model_fails_afterwards(name, backend):
    def write_and_fail(model, mean):
        WRITES[name](model, mean)
        raise OverflowError("the model's own")

    model = MODELS[backend.name](write_and_fail)
    with pytest.raises(OverflowError):
        explain(model, IMAGES, method="gradient")
    assert_array_equal(state(model)["seen"], np.zeros(4))


def test_it_is_taken_back_after_verification_too(backend):
    model = MODELS[backend.name](replaced)
    explain(model, IMAGES[:1], method="gradient", target=0, verify=True)
    assert_array_equal(state(model)["seen"], np.zeros(4))


@pytest.mark.parametrize("method", METHODS)
def test_two_explanations_of_a_counting_model_are_equal(method, backend):
    model = MODELS[backend.name](lambda model, _: model.seen.add_(model.seen + 1))
    first, second = (explain(model, IMAGES, method=method, target="all").maps for _ in range(2))
    assert_allclose(first, second, rtol=0, atol=0)
