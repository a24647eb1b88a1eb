"""Gradients that a PyTorch model switches off itself, checkpointing, and autocast inside a model."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from torch.utils.checkpoint import checkpoint, checkpoint_sequential  # noqa: E402

from contexts.judging import OUT_OF_REACH, SWITCHED_OFF, assert_right, assert_right_or_refused  # noqa: E402
from contexts.reference_network import TARGET  # noqa: E402
from contexts.torch_reference import Network, native, with_body, with_head  # noqa: E402
from xai_med import explain  # noqa: E402
from xai_med.errors import DtypeError, UnsupportedOperationError  # noqa: E402

REFUSED = {"gradient": OUT_OF_REACH, "clear": OUT_OF_REACH, "lrp": SWITCHED_OFF}


@pytest.fixture(params=[torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def switched_off(request):
    return request.param


def test_a_body_without_gradients_is_right_from_the_pool_on(method, switched_off):
    def body(model, x):
        with switched_off():
            return Network.body(model, x)

    assert_right_or_refused(with_body(body), method, native(), REFUSED)


def test_a_model_without_gradients_is_right_where_none_are_needed(method, switched_off):
    class Decorated(Network):
        @switched_off()
        def forward(self, x):
            return super().forward(x)

    refused = dict(REFUSED)
    if switched_off is torch.inference_mode:
        refused["grad_cam"] = OUT_OF_REACH
    assert_right_or_refused(Decorated(), method, native(), refused)


def test_a_head_without_gradients_is_right_where_none_are_needed(method, switched_off):
    def head(model, features):
        with switched_off():
            return Network.head(model, features)

    refused = dict(REFUSED)
    if switched_off is torch.inference_mode:
        refused["grad_cam"] = OUT_OF_REACH
    assert_right_or_refused(with_head(head), method, native(), refused)


def test_gradients_enabled_inside_or_disabled_everywhere_change_nothing(method):
    def body(model, x):
        with torch.enable_grad():
            return Network.body(model, x)

    assert_right(with_body(body), method, native())
    torch.set_grad_enabled(False)
    try:
        assert_right(Network(), method, native())
        assert not torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)


def test_a_body_that_disables_gradients_for_good_leaves_the_caller_as_he_was(method):
    def body(model, x):
        torch.set_grad_enabled(False)
        return Network.body(model, x)

    assert_right_or_refused(with_body(body), method, native(), REFUSED)
    assert torch.is_grad_enabled()


# ---- checkpointing


def checkpointed(model, x):
    return checkpoint(lambda a: Network.body(model, a), x, use_reentrant=False)


def in_segments(model, x):
    parts = nn.Sequential(model.conv1, model.norm, nn.ReLU(), nn.MaxPool2d(2), model.conv2, nn.ReLU())
    return checkpoint_sequential(parts, 2, x, use_reentrant=False)


@pytest.mark.parametrize("body", [checkpointed, in_segments])
def test_checkpointing_is_right_without_rules_and_refused_with_them(method, body):
    assert_right_or_refused(with_body(body), method, native(), {"lrp": "runs under checkpointing, .* switch .* off"})


def test_checkpointing_under_a_rule_for_relus_is_refused():
    with pytest.raises(UnsupportedOperationError, match="runs under checkpointing"):
        explain(with_body(checkpointed), native(), method="clear", relu="identity")


def test_tensors_that_are_kept_elsewhere_until_they_are_needed_are_no_checkpoints(method):
    def body(model, x):
        with torch.autograd.graph.save_on_cpu():
            return Network.body(model, x)

    assert_right(with_body(body), method, native())


def test_reentrant_checkpointing_is_refused_where_derivatives_pass_it(method):
    model = with_body(lambda s, x: checkpoint(lambda a: Network.body(s, a), x, use_reentrant=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of inputs without gradients, as in any evaluation
        assert_right_or_refused(model, method, native(), REFUSED)


# ---- autocast and dtypes inside the model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_autocast_inside_the_model_changes_nothing(method, dtype):
    class Casting(Network):
        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return super().forward(x)

    share = 1e-9 if dtype == torch.float64 else 1e-5
    assert_right(Casting().to(dtype), method, native(dtype=dtype), share=share)


def test_a_head_in_double_precision_is_right_or_refused(method):
    class Mixed(Network):
        def __init__(self):
            super().__init__()
            self.float()
            self.fc.double()

        def head(self, features):
            return self.fc(features.mean((2, 3)).double())

    assert_right(Mixed(), method, native(dtype=torch.float32), share=1e-5)


def test_half_precision_on_the_cpu_is_right_as_far_as_its_digits_go(method):
    found = explain(Network().half(), native(dtype=torch.float16), method=method, target=TARGET).maps
    wanted = explain(Network(), native(), method=method, target=TARGET).maps
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.99


def test_a_model_that_rounds_its_images_is_refused_in_another_dtype(method):
    class Rounding(Network):
        def forward(self, x):
            return super().forward(x.float())

    saying = r"conv2d in module Conv2d .*they are float32 and float64, the images float64; give the model one dtype"
    with pytest.raises(DtypeError, match=saying):
        explain(Rounding().float(), native(dtype=torch.float32), method=method, dtype="float64")


def test_weights_that_are_not_registered_are_refused_in_another_dtype(method):
    outside = torch.eye(3)
    model = with_head(lambda s, features: F.linear(Network.head(s, features), outside)).float()
    with pytest.raises(DtypeError, match=r"linear .*they are float32 and float64, the images float64"):
        explain(model, native(dtype=torch.float32), method=method, dtype="float64")
