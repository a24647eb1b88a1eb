"""Whatever the caller's context in PyTorch: gradients, inference, autocast, dtypes, memory formats."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from contexts.torch_sequence import assert_close, network  # noqa: E402
from xai_med import explain  # noqa: E402
from xai_med.errors import DtypeError, ModelError, NonFiniteError  # noqa: E402


@pytest.fixture
def expected(method):
    """The map in no special context."""
    model, x = network()
    return explain(model, x, method=method, target=1).maps


def test_frozen_parameters_change_nothing(method, expected):
    model, x = network()
    model.requires_grad_(requires_grad=False)
    assert_close(explain(model, x, method=method, target=1).maps, expected)
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradient_contexts_change_nothing_and_stay(method, expected, context):
    model, x = network()
    with context():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        result = explain(model, x, method=method, target=1)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    assert_close(result.maps, expected)


def test_images_made_under_inference_mode(method, expected):
    model, x = network()
    with torch.inference_mode():
        x = x.clone()
        inside = explain(model, x, method=method, target=1)
    assert x.is_inference()
    assert_close(inside.maps, expected)
    assert_close(explain(model, x, method=method, target=1).maps, expected)


def test_a_model_made_under_inference_mode_is_refused(method):
    with torch.inference_mode():
        model, x = network()
    with pytest.raises(ModelError, match="was created under inference_mode, which forbids gradients"):
        explain(model, x, method=method)


def test_images_that_are_computed_and_require_a_gradient(method, expected):
    model, x = network()
    leaf = (x / 2).requires_grad_()
    computed = leaf * 2
    assert_close(explain(model, computed, method=method, target=1).maps, expected)
    assert computed.requires_grad
    assert leaf.grad is None
    computed.sum().backward()  # the caller's graph is whole
    assert leaf.grad is not None


def test_images_that_are_views(method):
    model, x = network()
    one = x[:1].expand(3, -1, -1, -1)
    assert_close(
        explain(model, one, method=method, target=1).maps, explain(model, one.clone(), method=method, target=1).maps
    )
    turned = x.transpose(2, 3).contiguous().transpose(2, 3)
    assert not turned.is_contiguous()
    assert_close(explain(model, turned, method=method, target=1).maps, explain(model, x, method=method, target=1).maps)
    flipped = np.ascontiguousarray(x.numpy()[..., ::-1])[..., ::-1]
    assert_close(explain(model, flipped, method=method, target=1).maps, explain(model, x, method=method, target=1).maps)


@pytest.mark.parametrize("name", ["vgg_like", "resnet_like", "densenet_like"])
def test_channels_last(method, name):
    model, x = network(name)
    wanted = explain(model, x, method=method, target=1).maps
    model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    assert_close(explain(model, x, method=method, target=1).maps, wanted)
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_float64_is_computed_in_float64(method, expected):
    model, x = network(dtype="float64")
    result = explain(model, x.double(), method=method, target=1)
    assert result.attribution.dtype == np.float64
    assert result.dtype == "float64"
    assert_close(result.maps, expected)


def test_a_bfloat16_model_gives_a_rough_map(method, expected):
    model, x = network()
    result = explain(model.bfloat16(), x.bfloat16(), method=method, target=1)
    assert np.isfinite(result.maps).all()
    assert result.dtype == "bfloat16"
    if method != "gradient":  # gates flip in bfloat16
        assert np.corrcoef(result.maps.ravel(), expected.ravel())[0, 1] > 0.95


def test_images_of_another_dtype_than_the_model_are_refused(method):
    model, x = network()
    with pytest.raises(DtypeError, match=r"images are torch.float64 and the model's weights torch.float32; give x.to"):
        explain(model, x.double(), method=method)


def test_autocast_changes_nothing(method, expected):
    model, x = network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = explain(model, x, method=method, target=1)
        assert torch.is_autocast_enabled("cpu")
    assert result.dtype == "float32"
    assert_close(result.maps, expected)


def test_float16_overflow_is_refused(method):
    class Overflows(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1, bias=False)
            self.fc = nn.Linear(2, 2, bias=False)
            with torch.no_grad():
                self.conv.weight.fill_(6e4)
                self.fc.weight.copy_(torch.tensor([[1.0, 1.0], [0.5, 0.5]]))

        def forward(self, x):
            return self.fc(self.conv(x).mean((2, 3)))

    model, x = Overflows().half(), torch.full((1, 1, 4, 4), 10.0, dtype=torch.float16)
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        explain(model, x, method=method, target="all")


def test_a_float16_model_that_does_not_overflow_is_right(method, expected):
    model, x = network()
    maps = explain(model.half(), x.half(), method=method, target=1).maps
    assert np.isfinite(maps).all()
    if method != "gradient":
        assert np.corrcoef(maps.ravel(), expected.ravel())[0, 1] > 0.99


def test_a_default_dtype_and_anomaly_mode_change_nothing(method, expected):
    model, x = network()
    torch.set_default_dtype(torch.float64)
    try:
        result = explain(model, x, method=method, target=1)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_close(result.maps, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anomaly mode warns that it is slow
        with torch.autograd.set_detect_anomaly(True):
            assert_close(explain(model, x, method=method, target=1).maps, expected)


def test_deterministic_algorithms_are_enough(method, expected):
    model, x = network()
    torch.use_deterministic_algorithms(True)
    try:
        result = explain(model, x, method=method, target=1)
    finally:
        torch.use_deterministic_algorithms(False)
    assert_close(result.maps, expected)
