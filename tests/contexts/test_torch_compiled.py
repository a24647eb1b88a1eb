"""Compiled, exported, scripted, traced and transformed models and functions in PyTorch."""

import sys
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.export import Dim, export, unflatten  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from contexts.judging import OUT_OF_SIGHT, assert_right, assert_right_or_refused, each  # noqa: E402
from contexts.reference_network import METHODS  # noqa: E402
from contexts.torch_reference import Network, after_body, native, with_body, with_head  # noqa: E402
from xai_med import explain  # noqa: E402
from xai_med.errors import ModelError  # noqa: E402

EVERY_SIZE = ({0: Dim.DYNAMIC},)


def rectified_by(relu):
    """A model with a given function in place of its ReLUs."""
    return with_body(lambda s, x: relu(s.conv2(F.max_pool2d(relu(s.norm(s.conv1(x))), 2))))


@pytest.mark.parametrize(
    "make",
    [
        lambda: export(Network(), (native(),)).module(),
        lambda: export(Network(), (native(),), dynamic_shapes=EVERY_SIZE).module(),
        lambda: unflatten(export(Network(), (native(),), dynamic_shapes=EVERY_SIZE)),
        lambda: torch.fx.symbolic_trace(Network()),
    ],
    ids=["exported", "exported for any batch", "unflattened", "symbolically traced"],
)
def test_an_exported_program_is_explained_as_its_origin(method, make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of its own tree of arguments
        model = make()
    assert_right(model, method, native())


def test_an_exported_program_that_is_not_yet_a_module_is_refused(method):
    with pytest.raises(ModelError, match=r"ExportedProgram; .* give the framework's own module"):
        explain(export(Network(), (native(),)), native(), method=method)


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_compiled_functions_run_as_they_were_written_and_stay_compiled(method, compiler):
    relu = torch.compile(lambda x: torch.relu(x) * 1.0, backend=compiler)
    relu(native())
    model = rectified_by(relu)
    assert_right(model, method, native())
    stance = sys.modules["torch._dynamo"].eval_frame._stance.stance
    assert stance == "default"


@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
def test_a_compiled_forward_runs_as_it_was_written(method, is_warm):
    class Compiled(Network):
        @torch.compile(backend="eager")
        def forward(self, x):
            return super().forward(x)

    model = Compiled()
    if is_warm:
        model(native())
    assert_right(model, method, native())


def test_a_function_that_was_traced_to_torchscript_is_out_of_sight(method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        relu = torch.jit.trace(torch.relu, (native(),))
    assert_right_or_refused(rectified_by(relu), method, native(), each(METHODS, OUT_OF_SIGHT))


@pytest.mark.parametrize(
    "change",
    [
        lambda a: torch.vmap(torch.relu)(a),
        lambda a: torch.func.grad(lambda b: (b**2).sum() / 2)(a),
        lambda a: torch.from_numpy(a.detach().numpy()),
        lambda a: torch.tensor(a.tolist(), dtype=a.dtype),
    ],
    ids=["vmap", "functional gradient", "NumPy", "numbers"],
)
def test_what_a_transform_hides_is_refused(method, change):
    assert_right_or_refused(after_body(change), method, native(), each(METHODS, OUT_OF_SIGHT))


class Identity(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        return a * 1.0

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def test_a_custom_autograd_function_is_refused_where_derivatives_pass_it(method):
    refused = {
        "gradient": "differentiable path",
        "clear": "differentiable path",
        "lrp": "gradients switched off",
    }
    assert_right_or_refused(after_body(Identity.apply), method, native(), refused)


def test_a_model_that_differentiates_inside_itself(method):
    def head(model, features):
        with torch.enable_grad():
            features = features if features.requires_grad else features.clone().requires_grad_()
            (same,) = torch.autograd.grad((features**2).sum() / 2, features, create_graph=True)
        return model.fc(same.mean((2, 3)))

    refused = {"cam": "class activation maps exist", "lrp": "have none for unknown: grad", "grad_cam": "could not run"}
    assert_right_or_refused(with_head(head), method, native(), refused)


def test_a_number_read_from_the_features_is_a_constant():
    model = after_body(lambda a: a / a.max().item() * a.max().detach())
    found = explain(model, native(), method="gradient", target=1)
    for number in range(2):
        x = native()[number : number + 1].requires_grad_()
        (expected,) = torch.autograd.grad(model(x)[0, 1], x)
        np.testing.assert_allclose(found.attribution[number, 0], expected[0], rtol=1e-10, atol=1e-14)


def test_modes_of_the_caller_are_let_through(method):
    class Plain(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            return function(*args, **(kwargs or {}))

    with Plain():
        assert_right(Network(), method, native())


def test_another_default_device_does_not_matter(method):
    model, x = Network(), native()
    torch.set_default_device("meta")
    try:
        assert_right(model, method, x)
    finally:
        torch.set_default_device(None)


def test_nothing_is_replaced_in_modules_afterwards(method):
    before = {name: vars(nn.Module)[name] for name in ("_get_backward_hooks", "_get_backward_pre_hooks")}
    assert_right(Network(), method, native())
    with pytest.raises(ValueError, match="from the caller"):
        explain(with_body(lambda *_: (_ for _ in ()).throw(ValueError("from the caller"))), native(), method=method)
    assert all(vars(nn.Module)[name] is value for name, value in before.items())
