"""What is left of an explanation in PyTorch, and gradients that reach the caller's parameters."""

import gc
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")


from contexts.torch_sequence import assert_close, network  # noqa: E402
from xai_med import attribute, explain  # noqa: E402
from xai_med.errors import NotApplicableError, XaiMedError  # noqa: E402


def test_the_model_can_be_pickled_after_the_call(method):
    model, x = network()
    result = explain(model, x, method=method, target=1)
    twin = pickle.loads(pickle.dumps(model))
    assert_close(explain(twin, x, method=method, target=1).maps, result.maps)


def test_the_number_of_living_tensors_is_constant_over_twenty_calls(method):
    model, x = network()

    def living():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    explain(model, x, method=method)
    before = living()
    results = [explain(model, x, method=method) for _ in range(20)]
    assert living() == before
    assert len(results) == 20


def test_no_global_hook_is_left(method):
    from torch.nn.modules import module

    def counts():
        return len(module._global_forward_hooks), len(module._global_forward_pre_hooks)

    model, x = network()
    before = counts()
    explain(model, x, method=method)
    assert counts() == before
    with pytest.raises(XaiMedError):
        explain(model, x[0], method=method)
    assert counts() == before


def test_the_callers_own_hooks_run_and_may_change_the_output(method):
    model, x = network()
    plain = explain(model, x, method=method, target=1)
    seen = []
    handle = model.get_submodule("conv2").register_forward_hook(
        lambda _module, _inputs, output: seen.append(1) or output * 2
    )
    hooked = explain(model, x, method=method, target=1)
    handle.remove()
    assert seen
    logits = model(x)
    assert not np.allclose(hooked.scores, plain.scores)
    np.testing.assert_allclose(plain.scores[:, 0], logits[:, 1].detach(), rtol=1e-5)


def test_gradients_through_attribute_reach_the_callers_parameters():
    model, x = network("resnet_like")
    for name in ("cam", "grad_cam", "gradient"):
        model.zero_grad()
        attribute(model, x, method=name, target=1, differentiable=True).square().sum().backward()
        assert model.get_submodule("conv1").weight.grad.abs().sum() > 0, name
    for name in ("lrp", "clear"):
        with pytest.raises(NotApplicableError, match="not differentiable"):
            attribute(model, x, method=name, target=1, differentiable=True)
