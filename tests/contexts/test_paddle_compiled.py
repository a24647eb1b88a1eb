"""Compiled, loaded and custom parts in PaddlePaddle, recomputation, and functions that a model holds by name."""

import warnings

import pytest

paddle = pytest.importorskip("paddle", reason="paddle is not installed")

from paddle import nn  # noqa: E402
from paddle.distributed.fleet.utils import recompute  # noqa: E402
from paddle.nn import functional as F  # noqa: E402, N812
from paddle.nn.functional import batch_norm, conv2d, linear, max_pool2d, relu  # noqa: E402

from contexts.judging import OUT_OF_REACH, SWITCHED_OFF, assert_right, assert_right_or_refused, each  # noqa: E402
from contexts.paddle_reference import Network, after_body, native, with_body, with_head  # noqa: E402
from contexts.reference_network import METHODS, TARGET, answers, run_twice, spectrally_normalised  # noqa: E402
from xai_med import explain  # noqa: E402
from xai_med.errors import ModelError  # noqa: E402

SPEC = [paddle.static.InputSpec([None, 2, 9, 7], "float64")]


def rectified_by(rectifier):
    """A model with a given function in place of its ReLUs."""
    return with_body(lambda s, x: rectifier(s.conv2(F.max_pool2d(rectifier(s.norm(s.conv1(x))), 2))))


# ---- compiled and loaded


@pytest.mark.parametrize("full_graph", [True, False], ids=["full graph", "partial graph"])
def test_compiled_functions_and_methods_run_as_they_were_written(method, full_graph):
    compiled = paddle.jit.to_static(lambda x: F.relu(x) * 1.0, full_graph=full_graph)
    assert_right(rectified_by(compiled), method, native())
    model = Network()
    model.body = paddle.jit.to_static(model.body, full_graph=full_graph)
    assert_right(model, method, native())


def test_a_compiled_function_that_has_run_before_is_explained_and_runs_after():
    def rectify(x):
        return F.relu(x)

    model = rectified_by(paddle.jit.to_static(rectify, full_graph=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Paddle warns of a property that it reads itself
        before = model(native())
        assert_right(model, "lrp", native())
        assert bool((model(native()) == before).all())


@pytest.mark.parametrize("full_graph", [True, False], ids=["full graph", "partial graph"])
def test_a_compiled_model_is_refused_with_advice(method, full_graph):
    model = paddle.jit.to_static(Network(), full_graph=full_graph)
    with pytest.raises(ModelError, match=r"compiled with paddle.jit.to_static, .*undo it with layer.forward"):
        explain(model, native(), method=method)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A program without Python code."""
    path = str(tmp_path_factory.mktemp("saved") / "model")
    paddle.jit.save(Network(), path, input_spec=SPEC)
    return paddle.jit.load(path)


def test_a_loaded_program_is_refused_with_advice(method, loaded):
    with pytest.raises(ModelError, match=r"the model was loaded by paddle\.jit\.load, .* build the original"):
        explain(loaded, native(), method=method)
    model = Network()
    model.inner = loaded
    with pytest.raises(ModelError, match=r"layer 'inner' was loaded by paddle\.jit\.load"):
        explain(model, native(), method=method)


def test_a_loaded_program_that_the_model_does_not_register_is_refused(method, loaded):
    hidden = [loaded]

    class Hiding(Network):
        def forward(self, x):
            return hidden[0](x)

    refused = each(METHODS, "differentiable path|class activation maps exist|have none for unknown: run_program")
    assert_right_or_refused(Hiding(), method, native(), refused)


def test_a_data_parallel_wrapper_is_refused_with_advice(method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is one device
        model = paddle.DataParallel(Network())
    with pytest.raises(ModelError, match=r"wrapped in paddle.DataParallel; explain model._layers"):
        explain(model, native(), method=method)


# ---- custom derivatives and recomputation


class CustomReLU(paddle.autograd.PyLayer):
    @staticmethod
    def forward(ctx, a):
        result = F.relu(a)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx, gradient):
        (result,) = ctx.saved_tensor()
        return gradient * (result > 0).astype(gradient.dtype)


class CustomConvolution(paddle.autograd.PyLayer):
    @staticmethod
    def forward(ctx, a, weight):
        ctx.save_for_backward(weight)
        return F.conv2d(a, weight, padding=1)

    @staticmethod
    def backward(ctx, gradient):
        (weight,) = ctx.saved_tensor()
        return F.conv2d_transpose(gradient, weight, padding=1), None


def by_hand(model, x):
    x = F.max_pool2d(F.relu(model.norm(model.conv1(x))), 2)
    return F.relu(CustomConvolution.apply(x, model.conv2.weight) + model.conv2.bias.reshape([1, -1, 1, 1]))


@pytest.mark.parametrize(
    "make", [lambda: rectified_by(CustomReLU.apply), lambda: with_body(by_hand)], ids=["ReLU", "convolution"]
)
def test_custom_derivatives_are_refused_where_they_would_be_needed(method, make):
    refused = {"gradient": OUT_OF_REACH, "clear": OUT_OF_REACH, "lrp": SWITCHED_OFF}
    assert_right_or_refused(make(), method, native(), refused)


def test_a_custom_branch_beside_a_seen_one_is_refused_where_a_rule_would_be_needed(method):
    model = after_body(lambda a: 0.5 * a + 0.5 * CustomReLU.apply(a))
    assert_right_or_refused(model, method, native(), {"lrp": SWITCHED_OFF})


def test_recomputation_is_right_without_rules_and_refused_with_them(method):
    model = with_body(lambda s, x: recompute(lambda a: Network.body(s, a), x, use_reentrant=False))
    refused = {"lrp": "runs under checkpointing, .* switch .* off"}
    assert_right_or_refused(model, method, native(), refused)


def test_reentrant_recomputation_is_refused(method):
    model = with_body(lambda s, x: recompute(lambda a: Network.body(s, a), x, use_reentrant=True))
    assert_right_or_refused(model, method, native(), each(METHODS, "operations that can be followed"))


# ---- functions held by name


def test_functions_that_the_model_imported_by_name_are_as_its_layers(method):
    def body(s, x):
        x = conv2d(x, s.conv1.weight, s.conv1.bias, padding=1)
        x = relu(batch_norm(x, s.norm._mean, s.norm._variance, s.norm.weight, s.norm.bias, epsilon=2.0**-10))
        return relu(conv2d(max_pool2d(x, 2), s.conv2.weight, s.conv2.bias, padding=1))

    model = with_body(body)
    model.head = lambda features: linear(features.mean([2, 3]), model.fc.weight, model.fc.bias)
    assert_right(model, method, native())
    assert conv2d is F.conv2d
    assert conv2d.__module__.startswith("paddle.")


def test_a_function_that_only_an_object_holds_is_seen_as_its_parts():
    held = {"convolution": conv2d}

    def in_parts(s, x):
        x = F.conv2d(x, s.conv1.weight, padding=1) + s.conv1.bias.reshape([1, -1, 1, 1])
        return F.relu(s.conv2(F.max_pool2d(F.relu(s.norm(x)), 2)))

    def by_object(s, x):
        x = held["convolution"](x, s.conv1.weight, s.conv1.bias, padding=1)
        return F.relu(s.conv2(F.max_pool2d(F.relu(s.norm(x)), 2)))

    for method in METHODS:
        found, wanted = (
            explain(with_body(body), native(), method=method, target=TARGET).attribution
            for body in (by_object, in_parts)
        )
        assert abs(found - wanted).max() < 1e-12
        if method != "lrp":  # whose batch norm is merged with a convolution and not with a sum
            assert abs(found - answers(method)).max() < 1e-12


# ---- weights


def test_weight_norm_and_spectral_norm(method):
    model = Network()
    nn.utils.weight_norm(model.conv2)
    nn.utils.weight_norm(model.fc, dim=1)
    assert_right(model, method, native())
    model = Network().to(dtype="float32")  # its power iteration begins with float32 in any model
    for layer, axis in ((model.conv2, 0), (model.fc, 1)):
        nn.utils.spectral_norm(layer, n_power_iterations=500, dim=axis)
        layer.train()
        layer(paddle.zeros([1, 4, 9, 9] if axis == 0 else [1, 4]))
        layer.eval()
    assert_right(model, method, native(dtype="float32"), make=spectrally_normalised, share=1e-3)


class Adapted(nn.Layer):
    """A convolution and a low-rank addition that is still zero, as before the first step of its training."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.down, self.up = nn.Conv2D(4, 2, 1, bias_attr=False), nn.Conv2D(2, 4, 1, bias_attr=False)
        self.to(dtype="float64")
        self.up.weight.set_value(paddle.zeros_like(self.up.weight))

    def forward(self, x):
        return self.base(x) + 0.5 * self.up(self.down(x))


def test_a_low_rank_adapter_and_a_layer_under_two_names(method):
    model = Network()
    model.conv2 = Adapted(model.conv2)
    assert_right(model, method, native())
    model = with_body(lambda s, x: F.relu(s.conv3(F.relu(s.conv2(F.max_pool2d(F.relu(s.norm(s.conv1(x))), 2))))))
    model.conv3 = model.conv2
    assert_right(model, method, native(), make=run_twice)


def test_channels_last_parts_are_right_or_refused():
    def body(s, x):
        x = F.max_pool2d(F.relu(s.norm(s.conv1(x))), 2).transpose([0, 2, 3, 1])
        x = F.conv2d(x, s.conv2.weight, s.conv2.bias, padding=1, data_format="NHWC")
        return F.relu(x).transpose([0, 3, 1, 2])

    assert_right(with_body(body), "gradient", native())
    for method, saying in (("cam", "class activation maps exist"), ("lrp", "have none for unknown: conv2d")):
        assert_right_or_refused(with_body(body), method, native(), {method: saying})


def test_a_branch_chosen_by_a_tensor_is_explained_as_it_ran(method):
    def head(s, features):
        always = paddle.to_tensor(True)
        features = paddle.static.nn.cond(always, lambda: features, lambda: features * 0)
        return Network.head(s, features)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_right(with_head(head), method, native())
