"""Whatever the architecture: right against an oracle, or refused in words."""

from collections import namedtuple

import numpy as np
import pytest

from xai_med import attribute, explain
from xai_med.blueprints.blueprint import INPUT, Blueprint, Step
from xai_med.errors import (
    GradientError,
    LayerError,
    ModelError,
    NotApplicableError,
    OutputError,
    SettingError,
    XaiMedError,
)
from xai_med.testing import oracle
from xai_med.testing.networks import NETWORKS, example_input

METHODS = ("cam", "grad_cam", "gradient", "lrp", "clear")
Pair = namedtuple("Pair", "logits features")
Others = namedtuple("Others", "first second")


def changed(blueprint, name, **changes):
    """Replace parts of one step of a blueprint."""
    steps = [
        Step(
            step.name,
            changes.get("operation", step.operation),
            changes.get("inputs", step.inputs),
            changes.get("arrays", step.arrays),
            changes.get("options", step.options),
        )
        if step.name == name
        else step
        for step in blueprint.steps
    ]
    return Blueprint(blueprint.name, blueprint.input_shape, tuple(steps))


def with_style(blueprint, operation, style):
    """Write every step of one operation in one style."""
    for step in blueprint.steps:
        if step.operation == operation:
            blueprint = changed(blueprint, step.name, options={**step.options, "style": style})
    return blueprint


def with_output(model, change):
    """Let a model return something else."""
    original = model.forward
    model.forward = lambda x: change(original(x))
    return model


def with_input(model, change):
    """Let a model change its images first."""
    original = model.forward
    model.forward = lambda x: original(change(x))
    return model


def assert_close(found, expected, tolerance):
    """Compare within a share of the range."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(np.ptp(expected), 1e-30))


# ---- layers whose output is changed afterwards


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet_like", "norm1"),  # followed by an in-place ReLU
        ("resnet_like", "a_norm2"),  # changed by an in-place addition, then by an in-place ReLU
        ("resnet_like", "b_down_norm"),
        ("densenet_like", "norm0"),
        ("densenet_like", "a1_norm1"),
        ("densenet_like", "t_norm"),
        ("grouped", "norm3"),
        ("volume", "norm1"),
    ],
)
@pytest.mark.parametrize("relu", [True, False])
def test_a_layers_map_is_of_its_own_output_whatever_changes_it_in_place(backend, name, layer, relu):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    model = backend.build(blueprint, dtype="float64")
    result = explain(model, images, method="grad_cam", layer=layer, target=1, relu=relu)
    values = oracle.forward(blueprint, images)
    cotangent = np.zeros_like(values["classifier"])
    cotangent[:, 1] = 1
    gradient = oracle.vector_jacobian(blueprint, images, of="classifier", cotangent=cotangent, to=layer)
    weights = gradient.mean(axis=tuple(range(2, gradient.ndim)), keepdims=True)
    expected = (weights * values[layer]).sum(axis=1)
    assert expected.any()
    # the last in-place ReLU writes into its input, whose values would then be positive
    assert_close(result.attribution[:, 0], np.maximum(expected, 0) if relu else expected, 1e-7)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["vgg_like", "resnet_like", "densenet_like"])
def test_the_style_of_a_relu_changes_nothing(backend, method, name):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    maps = [
        explain(backend.build(with_style(blueprint, "relu", style)), images, method=method, target="all").maps
        for style in ("module", "functional", "in_place")
    ]
    assert_close(maps[1], maps[0], 1e-5)
    assert_close(maps[2], maps[0], 1e-5)


@pytest.mark.parametrize("relu", ["guided", "deconv", "identity"])
@pytest.mark.parametrize("style", ["module", "functional", "in_place"])
def test_a_relu_rule_acts_on_every_style_of_relu(backend, relu, style):
    blueprint = with_style(NETWORKS["vgg_like"](), "relu", style)
    images = example_input(blueprint)
    features, weights, _ = oracle.class_maps(blueprint, images)
    seed = np.einsum("nchw,kc->nkhw", features, weights)
    found = attribute(backend.build(blueprint, dtype="float64"), images, method="clear", relu=relu, psi="id")
    plain = attribute(backend.build(blueprint, dtype="float64"), images, method="clear", psi="id")
    for k, weight in enumerate(weights):
        cotangent = weight[None, :, None, None] * seed[:, k, None]
        expected = oracle.vector_jacobian(blueprint, images, of="relu2", cotangent=cotangent, relu=relu)
        assert_close(np.asarray(found.numpy())[:, k], expected, 1e-7)
        assert np.abs(np.asarray(plain.numpy())[:, k] - expected).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "operation", "styles"),
    [
        ("vgg_like", "global_average_pool", ("module", "mean")),
        ("resnet_like", "global_average_pool", ("module", "mean")),
        ("resnet_like", "add", ("operator", "in_place")),
        ("volume", "global_average_pool", ("module", "mean")),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_pools_and_sums_may_be_modules_functions_or_operators(backend, method, name, operation, styles):
    maps = []
    for style in styles:
        blueprint = NETWORKS[name]()
        blueprint = with_style(blueprint, operation, style)
        if operation == "global_average_pool" and style == "module":
            blueprint = _flattened(blueprint)
        elif operation == "global_average_pool":
            blueprint = _without_flatten(blueprint)
        maps.append(explain(backend.build(blueprint), example_input(blueprint), method=method, target=0).maps)
    assert_close(maps[1], maps[0], 1e-5)


def _flattened(blueprint):
    if any(step.operation == "flatten" for step in blueprint.steps):
        return blueprint
    position = next(i for i, step in enumerate(blueprint.steps) if step.name == "pool")
    steps = list(blueprint.steps)
    after = steps[position + 1]
    steps[position + 1 : position + 2] = [
        Step("flat", "flatten", ("pool",)),
        Step(after.name, after.operation, ("flat",), after.arrays, after.options),
    ]
    return Blueprint(blueprint.name, blueprint.input_shape, tuple(steps))


def _without_flatten(blueprint):
    steps = [
        Step(s.name, s.operation, tuple("pool" if i == "flat" else i for i in s.inputs), s.arrays, s.options)
        for s in blueprint.steps
        if s.name != "flat"
    ]
    return Blueprint(blueprint.name, blueprint.input_shape, tuple(steps))


@pytest.mark.parametrize(
    "name",
    ["vgg_like", "resnet_like", "densenet_like", "grouped", "fully_connected_head", "signal", "volume", "forked"],
)
def test_relevance_of_residuals_concatenations_pools_and_means_equals_the_oracle(backend, name):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    relevance = attribute(backend.build(blueprint, dtype="float64"), images, method="lrp", target=1)
    assert_close(np.asarray(relevance.numpy())[:, 0], oracle.relevance(blueprint, images, target=1), 1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_one_relu_object_used_twice_is_as_two(backend, method):
    blueprint = with_style(NETWORKS["vgg_like"](), "relu", "module")
    images = example_input(blueprint)
    expected = explain(backend.build(blueprint), images, method=method, target=0)
    model = backend.build(blueprint)
    model.relu2 = model.relu1
    result = explain(model, images, method=method, target=0)
    assert_close(result.maps, expected.maps, 1e-6)


@pytest.mark.parametrize("method", ["cam", "grad_cam"])
def test_a_layer_that_runs_twice_is_refused(backend, method):
    blueprint = with_style(NETWORKS["vgg_like"](), "relu", "module")
    model = backend.build(blueprint)
    model.relu2 = model.relu1
    with pytest.raises(LayerError, match="'relu1' runs more than once in a forward pass, so that its output is ambig"):
        explain(model, example_input(blueprint), method=method, layer="relu1")


def folded(blueprint, convolution, norm):
    """Fold a batch norm into the convolution before it, by hand."""
    steps = {step.name: step for step in blueprint.steps}
    weight, shift = steps[convolution].arrays["weight"], steps[convolution].arrays.get("bias", 0.0)
    n = steps[norm].arrays
    scale = n["weight"] / np.sqrt(n["running_var"] + steps[norm].options["epsilon"])
    arrays = {
        "weight": weight * scale.reshape(-1, *(1,) * (weight.ndim - 1)),
        "bias": (shift - n["running_mean"]) * scale + n["bias"],
    }
    kept = [
        Step(s.name, s.operation, tuple(convolution if i == norm else i for i in s.inputs), s.arrays, s.options)
        for s in changed(blueprint, convolution, arrays=arrays).steps
        if s.name != norm
    ]
    return Blueprint(blueprint.name, blueprint.input_shape, tuple(kept))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("vgg_like", [("conv1", "norm1")]),
        ("grouped", [("conv3", "norm3")]),
        (
            "resnet_like",
            [("conv1", "norm1"), ("a_conv1", "a_norm1"), ("a_conv2", "a_norm2"), ("b_down", "b_down_norm")],
        ),
        ("signal", [("conv1", "norm1")]),
        ("volume", [("conv1", "norm1")]),
    ],
)
def test_batch_norm_equals_its_folded_network(backend, method, name, pairs):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    other = blueprint
    for pair in pairs:
        other = folded(other, *pair)
    first, second = (
        explain(backend.build(b, dtype="float64"), images, method=method, target=1) for b in (blueprint, other)
    )
    assert_close(second.maps, first.maps, 1e-5)


def test_relevance_at_a_max_pool_goes_to_the_winner(backend):
    steps = (
        Step("conv", "convolution", (INPUT,), {"weight": np.ones((1, 1, 1, 1))}),
        Step("small", "max_pool", ("conv",), {}, {"kernel": 2, "stride": 2, "padding": 0}),
        Step("pool", "global_average_pool", ("small",)),
        Step("flat", "flatten", ("pool",)),
        Step("classifier", "linear", ("flat",), {"weight": np.array([[2.0], [1.0]])}),
    )
    image = np.arange(1.0, 17.0, dtype=np.float32).reshape(1, 1, 4, 4)
    result = explain(backend.build(Blueprint("winners", (1, 4, 4), steps)), image, method="lrp", target=0, epsilon=0)
    expected = np.zeros((4, 4))
    expected[1::2, 1::2] = image[0, 0, 1::2, 1::2] / 4 * 2
    np.testing.assert_allclose(result.maps[0, 0], expected, rtol=1e-6)
    assert result.maps.sum() == pytest.approx(result.scores[0, 0], rel=1e-6)


# ---- heads


@pytest.mark.parametrize("layer", ["conv1", "norm1", "conv2", "pool1", "relu1"])
def test_cam_at_a_layer_that_does_not_feed_the_pool_is_refused(backend, layer):
    blueprint = with_style(NETWORKS["vgg_like"](), "relu", "module")
    with pytest.raises(LayerError, match=r"not what enters the global pool \(that is made by 'relu2'\)"):
        explain(backend.build(blueprint), example_input(blueprint), layer=layer)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fully_connected_head", r"no global average pool, and a hidden layer \(relu\)"),
        ("hidden_layer_head", r"a hidden layer stands between the pool and the output"),
        ("max_pool_head", r"the model pools by maximum \(.*max_pool.*\), not by average"),
    ],
)
def test_cam_of_another_head_is_refused(backend, name, reason):
    blueprint = NETWORKS[name]()
    with pytest.raises(NotApplicableError, match=reason) as caught:
        explain(backend.build(blueprint), example_input(blueprint))
    assert "use method='grad_cam'" in str(caught.value)


def test_cam_of_flatten_and_one_linear_layer_is_refused(backend):
    steps = (
        Step("conv", "convolution", (INPUT,), {"weight": np.ones((2, 1, 1, 1))}),
        Step("flat", "flatten", ("conv",)),
        Step("classifier", "linear", ("flat",), {"weight": np.ones((3, 2 * 12))}),
    )
    with pytest.raises(NotApplicableError, match="the features are flattened without a global average pool"):
        explain(backend.build(Blueprint("flat", (1, 3, 4), steps)), np.ones((1, 1, 3, 4), np.float32))


def two_linear_layers(between):
    generator = np.random.default_rng(0)
    steps = (
        Step("conv", "convolution", (INPUT,), {"weight": generator.normal(size=(4, 1, 3, 3))}),
        Step("relu", "relu", ("conv",)),
        Step("pool", "global_average_pool", ("relu",)),
        Step("flat", "flatten", ("pool",)),
        Step("hidden", "linear", ("flat",), {"weight": generator.normal(size=(4, 4))}),
        *([Step("between", between, ("hidden",))] if between else []),
        Step("classifier", "linear", ("between" if between else "hidden",), {"weight": generator.normal(size=(4, 4))}),
    )
    return Blueprint("equal", (1, 6, 6), steps)


def test_cam_of_two_linear_layers_of_equal_width_with_a_relu_between_is_refused(backend):
    with pytest.raises(NotApplicableError, match="a hidden layer stands between the pool and the output"):
        explain(backend.build(two_linear_layers("relu")), np.ones((1, 1, 6, 6), np.float32))


def test_cam_of_two_linear_layers_takes_their_product(backend):
    blueprint = two_linear_layers(None)
    images = example_input(blueprint)
    found = explain(backend.build(blueprint, dtype="float64"), images, target="all").attribution
    *_, hidden, classifier = (step.arrays["weight"] for step in blueprint.steps if "weight" in step.arrays)
    features = oracle.forward(blueprint, images)["relu"]
    assert_close(found, np.einsum("nchw,jc,kj->nkhw", features, hidden, classifier), 1e-12)


@pytest.mark.parametrize("name", ["convolution_head", "class_kernels", "vgg_like", "densenet_like", "sigmoid_output"])
def test_cam_reads_the_head_in_every_form(backend, name):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    features, weights, _ = oracle.class_maps(blueprint, images)
    result = explain(backend.build(blueprint, dtype="float64"), images, target="all")
    assert_close(result.attribution, np.einsum("nc...,kc->nk...", features, weights), 1e-12)


@pytest.mark.parametrize("layer", ["classifier", "flat_", "drop"])
def test_grad_cam_at_a_layer_without_space_is_refused(backend, layer):
    blueprint = NETWORKS["vgg_like"]()
    message = "has no layer 'flat_'" if layer == "flat_" else r"has shape \(2, .\), which is not \(N, C, \*space\)"
    with pytest.raises(LayerError, match=message):
        explain(backend.build(blueprint), example_input(blueprint), method="grad_cam", layer=layer)


def test_grad_cam_finds_the_last_features_of_heads_without_a_global_average(backend):
    for name, layer in (("fully_connected_head", "pool1"), ("max_pool_head", "relu1"), ("hidden_layer_head", "relu1")):
        blueprint = NETWORKS[name]()
        images = example_input(blueprint)
        result = explain(backend.build(blueprint, dtype="float64"), images, method="grad_cam", target=0)
        assert result.layer == layer
        assert_close(result.attribution[:, 0], oracle.grad_cam(blueprint, images, layer=layer, target=0), 1e-7)


# ---- outputs


@pytest.mark.parametrize("method", ["cam", "grad_cam", "lrp"])
@pytest.mark.parametrize(
    ("change", "output"),
    [
        (lambda y: (y,), None),
        (lambda y: [y], None),
        (lambda y: {"out": y}, None),
        (lambda y: {"logits": y, "features": y * 2}, None),
        (lambda y: Pair(y, y * 2), None),
        (lambda y: (y * 2, y), 1),
        (lambda y: (y * 2, y), -1),
        (lambda y: {"a": y, "b": y * 2}, "a"),
        (lambda y: Others(y * 2, y), "second"),
        (lambda y: Others(y * 2, y), 1),
        (lambda y: {"deep": (y * 2, y)}, lambda output: output["deep"][1]),
    ],
    ids="tuple list dict logits-key logits-field position last key field field-position function".split(),
)
def test_logits_are_found_in_structured_outputs(backend, method, change, output):
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint)
    expected = explain(backend.build(blueprint), images, method=method, target=1)
    model = with_output(backend.build(blueprint), change)
    result = explain(model, images, method=method, target=1, output=output)
    assert_close(result.maps, expected.maps, 1e-6)


@pytest.mark.parametrize("method", ["cam", "gradient"])
@pytest.mark.parametrize(
    ("change", "output", "message"),
    [
        (
            lambda y: (y, y * 2),
            None,
            r"the model returned 2 tensors \(0, 1\); say which one holds the logits with outp",
        ),
        (lambda y: {"a": y, "b": y}, None, "the model returned 2 tensors .'a', 'b'.; say which one"),
        (lambda y: Others(y, y * 2), None, "2 tensors"),
        (lambda y: (), None, r"0 tensors \(none\)"),
        (lambda y: None, None, "the model returned a NoneType"),
        (lambda y: object(), None, "the model returned a object; logits are read from tensors"),
        (lambda y: (y, y), 2, "output=2 does not exist in the model's tuple"),
        (lambda y: {"a": y}, "b", "output='b' does not exist in the model's dict"),
        (lambda y: {"a": {"b": y}}, "a", "output='a' gives a dict, not a tensor"),
    ],
    ids="tuple dict namedtuple empty none object position key nested".split(),
)
def test_ambiguous_outputs_are_refused(backend, method, change, output, message):
    blueprint = NETWORKS["vgg_like"]()
    model = with_output(backend.build(blueprint), change)
    with pytest.raises(OutputError, match=message):
        explain(model, example_input(blueprint), method=method, target=1, output=output)


def test_a_model_with_two_inputs_is_refused_in_words(backend):
    model = backend.build(NETWORKS["vgg_like"]())
    original = model.forward
    model.forward = lambda image, scale: original(image) * scale
    with pytest.raises(ModelError, match=r"forward takes \(image, scale\) and gets one argument, the images; wrap it"):
        explain(model, example_input(NETWORKS["vgg_like"]()))


# ---- saturation and cut gradients


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ending", ["sigmoid", "softmax"])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_a_final_activation_is_looked_through_also_where_it_is_saturated(backend, method, ending, size):
    blueprint = NETWORKS[f"{ending}_output"]()
    head = next(step for step in blueprint.steps if step.name == "classifier")
    arrays = {name: np.asarray(array) * size for name, array in head.arrays.items()}
    blueprint = changed(blueprint, "classifier", arrays=arrays)
    plain = Blueprint("plain", blueprint.input_shape, blueprint.steps[:-1])
    images = example_input(blueprint)
    expected = explain(backend.build(plain), images, method=method, target="all")
    result = explain(backend.build(blueprint), images, method=method, target="all")
    assert_close(result.maps, expected.maps, 1e-6)
    assert result.maps.any()
    assert result.activation == ending
    np.testing.assert_allclose(result.scores, expected.scores, rtol=1e-5)


def test_a_softmax_out_of_sight_is_refused(backend):
    steps = (
        Step("conv", "convolution", (INPUT,), {"weight": np.ones((2, 1, 1, 1))}),
        Step("pool", "global_average_pool", ("conv",)),
        Step("flat", "flatten", ("pool",)),
    )
    model = backend.build(Blueprint("means", (1, 4, 4), steps))
    with pytest.raises(OutputError, match="probabilities that sum to 1, and the softmax that made them cannot be seen"):
        explain(model, np.full((2, 1, 4, 4), 0.5, np.float32))


@pytest.mark.parametrize("method", ["gradient", "lrp", "clear"])
@pytest.mark.parametrize(
    "cut",
    [lambda x: x.detach(), lambda x: x.round(), lambda x: x.floor(), lambda x: x.sign()],
    ids="detach round floor sign".split(),
)
def test_a_cut_gradient_is_refused_instead_of_a_zero_map(backend, method, cut):
    blueprint = NETWORKS["vgg_like"]()
    model = with_input(backend.build(blueprint), cut)
    with pytest.raises(GradientError, match="does not depend on the layer or input through any differentiable path"):
        explain(model, example_input(blueprint) * 3, method=method)


@pytest.mark.parametrize("method", ["grad_cam", "gradient", "lrp", "clear"])
@pytest.mark.parametrize("cut", [lambda y: y.detach(), lambda y: y.round() + 0.5], ids=["detach", "round"])
def test_a_gradient_cut_at_the_output_is_refused(backend, method, cut):
    blueprint = NETWORKS["vgg_like"]()
    model = with_output(backend.build(blueprint), cut)
    with pytest.raises(XaiMedError, match=r"differentiable path|cannot be|no rule|have none"):
        explain(model, example_input(blueprint), method=method, target=0)


def test_a_constant_model_is_refused(backend):
    blueprint = NETWORKS["vgg_like"]()
    model = backend.build(blueprint)
    constant = backend.tensor(np.ones((2, 3), np.float32))
    model.forward = lambda x: constant
    with pytest.raises(GradientError, match="the model's output does not depend on its input"):
        explain(model, example_input(blueprint))


def test_a_network_without_relus_has_nothing_for_a_relu_rule(backend):
    blueprint = NETWORKS["smooth"]()
    model, images = backend.build(blueprint), example_input(blueprint)
    for relu in ("guided", "deconv", "identity"):
        with pytest.raises(XaiMedError, match=r"silu|has none"):
            explain(model, images, method="clear", relu=relu, target="all")


def test_relevance_of_a_product_of_features_is_shared_evenly(backend):
    blueprint = changed(NETWORKS["resnet_like"](), "a_sum", operation="multiply", options={})
    images = example_input(blueprint)
    result = explain(backend.build(blueprint, dtype="float64"), images, method="lrp", target=0)
    assert_close(result.attribution[:, 0], oracle.relevance(blueprint, images, target=0), 1e-10)


# ---- one and three space axes


@pytest.mark.parametrize("name", ["signal", "volume"])
def test_signals_and_volumes_keep_their_axes(backend, name):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    model = backend.build(blueprint, dtype="float64")
    features, weights, _ = oracle.class_maps(blueprint, images)
    result = explain(model, images, target="all")
    assert_close(result.attribution, np.einsum("nc...,kc->nk...", features, weights), 1e-12)
    assert result.maps.shape == (2, 3, *blueprint.input_shape[1:])
    cotangent = np.broadcast_to(np.eye(3)[2], (2, 3))
    expected = oracle.vector_jacobian(blueprint, images, of="classifier", cotangent=cotangent)
    found = explain(model, images, method="gradient", target=2).attribution[:, 0]
    assert_close(found, expected, 1e-7)
    found = explain(model, images, method="lrp", target=2).attribution[:, 0]
    assert_close(found, oracle.relevance(blueprint, images, target=2), 1e-9)


def test_more_than_twenty_classes_are_not_compared_unasked(backend):
    steps = (
        Step("conv", "convolution", (INPUT,), {"weight": np.ones((2, 1, 1, 1))}),
        Step("pool", "global_average_pool", ("conv",)),
        Step("flat", "flatten", ("pool",)),
        Step("classifier", "linear", ("flat",), {"weight": np.ones((21, 2))}),
    )
    model = backend.build(Blueprint("many", (1, 4, 4), steps))
    image = np.ones((1, 1, 4, 4), np.float32)
    with pytest.raises(XaiMedError, match=r"the model has 21 classes; name the ones to compare with target=Classes"):
        explain(model, image, method="clear")
    assert explain(model, image, method="clear", target="all").maps.shape == (1, 21, 4, 4)


def test_a_relu_setting_reaches_the_result(backend):
    blueprint = NETWORKS["vgg_like"]()
    model, images = backend.build(blueprint), example_input(blueprint)
    signed = explain(model, images, method="grad_cam", target=0, relu=False)
    positive = explain(model, images, method="grad_cam", target=0)
    np.testing.assert_allclose(np.maximum(signed.attribution, 0), positive.attribution)
    assert (signed.attribution < 0).any()
    with pytest.raises(SettingError):
        explain(model, images, method="cam", relu=False)


def test_a_path_that_is_partly_cut_is_reported_by_name():
    torch = pytest.importorskip("torch")

    class PartlyCut(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kept, self.cut = torch.nn.Conv2d(1, 2, 3), torch.nn.Conv2d(1, 2, 3)
            self.head = torch.nn.Linear(2, 2)

        def forward(self, x):
            with torch.no_grad():
                unrecorded = self.cut(x)
            return self.head((self.kept(x) + self.cut(x).detach() + unrecorded).relu().mean((2, 3)))

    found = explain(PartlyCut(), np.ones((1, 1, 6, 6), np.float32), method="gradient")
    (check,) = [check for check in found.checks if check.name == "operations shielded from derivatives"]
    assert check.value == 2
    assert "detach" in check.note
    assert "conv2d in 'cut'" in check.note


def test_a_path_that_is_whole_reports_no_cut(backend):
    blueprint = NETWORKS["resnet_like"]()
    found = explain(backend.build(blueprint), example_input(blueprint, 1, 0), method="gradient")
    assert not [check for check in found.checks if "shielded" in check.name]
