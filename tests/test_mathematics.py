"""The mathematics: each method equals its definition, and keeps its identities, within the measured noise."""

import numpy as np
import pytest

from xai_med import Classes, explain
from xai_med.blueprints.blueprint import Blueprint, Step
from xai_med.errors import NotApplicableError, UnsupportedOperationError
from xai_med.testing import oracle
from xai_med.testing.networks import NETWORKS, example_input

METHODS = ("cam", "grad_cam", "gradient", "lrp", "clear")
POOLED = (
    "vgg_like",
    "resnet_like",
    "densenet_like",
    "grouped",
    "convolution_head",
    "class_kernels",
    "signal",
    "volume",
    "single_logit",
    "sigmoid_output",
    "softmax_output",
    "bias_free_resnet",
    "bias_free_densenet",
    "forked",
    "smooth",
)


def assert_close(found, expected, share):
    """Compare within a share of the range."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=share * max(np.ptp(expected), 1e-30))


def with_arrays(blueprint, name, **arrays):
    """Replace arrays of one step."""
    steps = [
        Step(s.name, s.operation, s.inputs, {**s.arrays, **arrays}, s.options) if s.name == name else s
        for s in blueprint.steps
    ]
    return Blueprint(blueprint.name, blueprint.input_shape, tuple(steps))


def step(blueprint, name):
    """Find a step."""
    return next(step for step in blueprint.steps if step.name == name)


def pool_input(blueprint):
    """Name of the step that feeds the global pool."""
    return step(blueprint, "pool").inputs[0]


def logits_of(blueprint, images):
    """Logits by the oracle."""
    return oracle.forward(blueprint, images)[oracle.logits_step(blueprint)]


def difference(blueprint, images, target, *, step_size=1e-6):
    """Gradient of a logit with respect to every pixel of one image by central differences in float64."""
    flat = images.astype(np.float64).reshape(1, -1)
    moves = step_size * np.eye(flat.shape[1])
    up, down = (
        logits_of(blueprint, moved.reshape(-1, *blueprint.input_shape))[:, target]
        for moved in (flat + moves, flat - moves)
    )
    return ((up - down) / (2 * step_size)).reshape(images.shape)


# ---- definitions


@pytest.mark.parametrize(("dtype", "share"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("name", POOLED)
def test_cam_equals_its_definition(backend, name, dtype, share):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    features, weights, _ = oracle.class_maps(blueprint, images)
    result = explain(backend.build(blueprint, dtype=dtype), images, method="cam", target="all")
    assert_close(result.attribution, np.einsum("nc...,kc->nk...", features, weights), share)


@pytest.mark.parametrize(("dtype", "share"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("name", POOLED)
def test_the_mean_of_a_cam_is_the_logit_without_its_bias(backend, name, dtype, share):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    _, _, bias = oracle.class_maps(blueprint, images)
    logits = logits_of(blueprint, images)
    result = explain(backend.build(blueprint, dtype=dtype), images, method="cam", target="all")
    mean = result.attribution.astype(np.float64).reshape(*logits.shape, -1).mean(axis=2)
    np.testing.assert_allclose(mean, logits - bias, rtol=0, atol=share * np.abs(logits).max())
    identity = result.check("cam_identity")
    assert identity.tolerance is not None
    assert identity.passed


@pytest.mark.parametrize(("dtype", "share"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("name", POOLED)
def test_grad_cam_is_the_positive_cam_over_the_number_of_cells(backend, name, dtype, share):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    model = backend.build(blueprint, dtype=dtype)
    for relu in (True, False):
        grad_cam = explain(model, images, method="grad_cam", target="all", relu=relu)
        features, weights, _ = oracle.class_maps(blueprint, images)
        if name == "class_kernels":  # there the bias is part of the features, and not of the map
            features = oracle.forward(blueprint, images)["classes"]
        cam = np.einsum("nc...,kc->nk...", features, weights) / np.prod(features.shape[2:])
        assert_close(
            grad_cam.attribution, np.maximum(cam, 0) if relu else cam, share * (10 if dtype == "float32" else 1e5)
        )


@pytest.mark.parametrize("name", ["vgg_like", "resnet_like", "densenet_like", "signal", "smooth"])
def test_the_gradient_equals_finite_differences(backend, name):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint, 1)
    found = explain(backend.build(blueprint, dtype="float64"), images, method="gradient", target=1)
    expected = difference(blueprint, images, 1)
    assert_close(found.attribution[:, 0], expected, 1e-6)
    assert_close(found.maps[:, 0], np.abs(expected).max(axis=1), 1e-6)


@pytest.mark.parametrize(
    ("read_out", "pool"),
    [
        ("max_abs", lambda g: np.abs(g).max(axis=1)),
        ("abs_sum", lambda g: np.abs(g).sum(axis=1)),
        ("l2", lambda g: np.sqrt((g**2).sum(axis=1))),
        ("signed_sum", lambda g: g.sum(axis=1)),
    ],
)
def test_read_outs_pool_the_channels(backend, read_out, pool):
    blueprint = NETWORKS["resnet_like"]()
    images = example_input(blueprint)
    model = backend.build(blueprint, dtype="float64")
    found = explain(model, images, method="gradient", target=1, read_out=read_out)
    cotangent = np.broadcast_to(np.eye(4)[1], (2, 4))
    assert_close(
        found.maps[:, 0], pool(oracle.vector_jacobian(blueprint, images, of="classifier", cotangent=cotangent)), 1e-6
    )


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_gradient_equals_hand_written_adjoints(backend, name):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    logits = logits_of(blueprint, images)
    cotangent = np.zeros_like(logits)
    cotangent[:, 0] = 1
    expected = oracle.vector_jacobian(blueprint, images, of=oracle.logits_step(blueprint), cotangent=cotangent)
    found = explain(backend.build(blueprint, dtype="float64"), images, method="gradient", target=0)
    assert_close(found.attribution[:, 0], expected, 1e-7)


@pytest.mark.parametrize(("dtype", "share"), [("float32", 5e-3), ("float64", 1e-9)])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_relevance_equals_the_dense_matrix_oracle(backend, name, dtype, share):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    model = backend.build(blueprint, dtype=dtype)
    try:
        expected = oracle.relevance(blueprint, images, target=0)
    except UnsupportedOperationError:
        with pytest.raises(UnsupportedOperationError, match="have none for"):
            explain(model, images, method="lrp", target=0)
        return
    found = explain(model, images, method="lrp", target=0)
    assert_close(found.attribution[:, 0], expected, share)


@pytest.mark.parametrize("psi", ["relu", "id"])
@pytest.mark.parametrize("relu", ["mask", "identity", "deconv", "guided"])
@pytest.mark.parametrize("name", ["vgg_like", "resnet_like", "densenet_like", "class_kernels", "signal", "volume"])
def test_clear_equals_its_definition(backend, name, relu, psi):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    features, weights, _ = oracle.class_maps(blueprint, images)
    seeds = np.einsum("nc...,kc->nk...", features, weights)
    seeds = np.maximum(seeds, 0) if psi == "relu" else seeds
    ones = (1,) * (features.ndim - 2)
    result = explain(backend.build(blueprint, dtype="float64"), images, method="clear", relu=relu, psi=psi)
    responses = []
    for k, weight in enumerate(weights):
        cotangent = weight.reshape(1, -1, *ones) * seeds[:, k, None]
        of = pool_input(blueprint)
        arrived = oracle.vector_jacobian(blueprint, images, of=of, cotangent=cotangent, relu=relu)
        assert_close(result.attribution[:, k], arrived, 1e-7)
        responses.append(np.abs(arrived.sum(axis=1)))
    responses = np.stack(responses, axis=1)
    assert_close(result.maps, responses, 1e-6)
    dominant = np.where(responses.max(axis=1) > 0, responses.argmax(axis=1), -1)
    gap = np.diff(np.sort(responses, axis=1)[:, -2:], axis=1)[:, 0] > 1e-9 * responses.max()
    np.testing.assert_array_equal(result.extras["dominant_class"][gap], dominant[gap])


# ---- conservation


@pytest.mark.parametrize(
    ("dtype", "epsilon", "share"), [("float32", 1e-9, 1e-5), ("float64", 1e-9, 1e-5), ("float64", 1e-6, 1e-4)]
)
@pytest.mark.parametrize("name", ["bias_free_resnet", "bias_free_densenet"])
def test_relevance_sums_to_the_logit_also_to_a_negative_one(backend, name, dtype, epsilon, share):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint, 3)
    logits = logits_of(blueprint, images)
    assert (logits < 0).any()
    result = explain(backend.build(blueprint, dtype=dtype), images, method="lrp", target="all", epsilon=epsilon)
    arrived = result.attribution.astype(np.float64).sum(axis=tuple(range(2, result.attribution.ndim)))
    np.testing.assert_allclose(arrived, logits, rtol=0, atol=share * np.abs(logits).max())
    lost = next(check for check in result.checks if check.name == "lost share of relevance")
    assert abs(lost.value) < 1e-3


def test_the_share_that_biases_take_is_reported(backend):
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint)
    result = explain(backend.build(blueprint, dtype="float64"), images, method="lrp", target="all")
    arrived = np.stack(
        [oracle.relevance(blueprint, images, target=k).reshape(2, -1).sum(axis=1) for k in range(3)], axis=1
    )
    shares = 1 - arrived / logits_of(blueprint, images)
    lost = next(check for check in result.checks if check.name == "lost share of relevance")
    assert lost.value == pytest.approx(shares.flat[np.abs(shares).argmax()], rel=1e-6)
    assert abs(lost.value) > 0.01


@pytest.mark.parametrize("epsilon", [0.0, 1e-9, 1e-3, 0.5])
def test_epsilon_reaches_the_rules(backend, epsilon):
    blueprint = NETWORKS["grouped"]()
    images = example_input(blueprint)
    found = explain(backend.build(blueprint, dtype="float64"), images, method="lrp", target=1, epsilon=epsilon)
    expected = oracle.relevance(blueprint, images, target=1, epsilon=epsilon or 1e-13)  # the oracle divides by zero
    assert_close(found.attribution[:, 0], expected, 1e-7)


# ---- batches


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["vgg_like", "resnet_like", "densenet_like"])
def test_batch_order_and_batch_split_do_not_change_a_map(backend, method, name):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint, 5)
    model = backend.build(blueprint)
    together = explain(model, images, method=method, target="all").maps
    order = np.array([3, 0, 4, 1, 2])
    assert_close(explain(model, images[order], method=method, target="all").maps, together[order], 1e-4)
    apart = np.concatenate(
        [explain(model, images[a:b], method=method, target="all").maps for a, b in ((0, 1), (1, 3), (3, 5))]
    )
    assert_close(apart, together, 1e-4)


# ---- invariance to how a network is written


def as_convolution_head(blueprint):
    """Write the linear layer behind the pool as a 1x1 convolution before the pool, keeping its bias."""
    head = step(blueprint, "classifier")
    steps = [s for s in blueprint.steps if s.name not in ("pool", "flat", "drop", "classifier")]
    arrays = {**head.arrays, "weight": head.arrays["weight"][:, :, None, None]}
    steps += [
        Step("classifier", "convolution", (pool_input(blueprint),), arrays),
        Step("pool", "global_average_pool", ("classifier",)),
        Step("flat", "flatten", ("pool",)),
    ]
    return Blueprint("convolution_first", blueprint.input_shape, tuple(steps))


@pytest.mark.parametrize(("dtype", "share"), [("float32", 1e-5), ("float64", 1e-9)])
@pytest.mark.parametrize("method", ["cam", "gradient", "clear"])
@pytest.mark.parametrize("name", ["vgg_like", "grouped"])
def test_a_linear_layer_and_a_pointwise_convolution_before_the_pool_are_the_same(backend, method, name, dtype, share):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    models = (backend.build(each, dtype=dtype) for each in (blueprint, as_convolution_head(blueprint)))
    first, second = (explain(model, images, method=method, target="all") for model in models)
    np.testing.assert_allclose(second.scores, first.scores, rtol=1e-5)
    assert_close(second.maps, first.maps, max(share, 1e-6))


@pytest.mark.parametrize("method", METHODS)
def test_a_linear_layer_and_a_pointwise_convolution_after_the_pool_are_the_same(backend, method):
    blueprint = NETWORKS["convolution_head"]()
    head = step(blueprint, "classifier")
    steps = [s for s in blueprint.steps if s.name not in ("classifier", "flat")]
    arrays = {**head.arrays, "weight": head.arrays["weight"][:, :, 0, 0]}
    steps += [Step("flat", "flatten", ("pool",)), Step("classifier", "linear", ("flat",), arrays)]
    other = Blueprint("linear_head", blueprint.input_shape, tuple(steps))
    images = example_input(blueprint)
    first, second = (explain(backend.build(b), images, method=method, target="all") for b in (blueprint, other))
    if method == "lrp":  # a convolution has the z+ rule and a linear layer the epsilon rule, by the composite
        settings = {"composite": "epsilon"}
        first, second = (
            explain(backend.build(b), images, method=method, target="all", **settings) for b in (blueprint, other)
        )
    assert_close(second.maps, first.maps, 1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_an_identity_convolution_changes_nothing(backend, method):
    blueprint = NETWORKS["vgg_like"]()
    steps = []
    for s in blueprint.steps:
        if s.name == "pool":
            steps.append(Step("identity", "convolution", s.inputs, {"weight": np.eye(5)[:, :, None, None]}))
            s = Step("pool", "global_average_pool", ("identity",), {}, s.options)
        steps.append(s)
    other = Blueprint("identity", blueprint.input_shape, tuple(steps))
    images = example_input(blueprint)
    first, second = (explain(backend.build(b), images, method=method, target="all") for b in (blueprint, other))
    assert_close(second.maps, first.maps, 1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_permuted_classes_permute_the_maps_and_duplicates_get_equal_ones(backend, method):
    blueprint = NETWORKS["vgg_like"]()
    head = step(blueprint, "classifier").arrays
    rows = [2, 0, 1, 1]
    other = with_arrays(blueprint, "classifier", weight=head["weight"][rows], bias=head["bias"][rows])
    images = example_input(blueprint)
    first, second = (explain(backend.build(b), images, method=method, target="all").maps for b in (blueprint, other))
    assert_close(second, first[:, rows], 1e-5)
    assert_close(second[:, 2], second[:, 3], 1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_dropout_in_evaluation_mode_is_not_there(backend, method):
    blueprint = NETWORKS["vgg_like"]()
    steps = [s for s in blueprint.steps if s.name not in ("drop", "classifier")]
    head = step(blueprint, "classifier")
    steps.append(Step("classifier", "linear", ("flat",), head.arrays))
    other = Blueprint("without_dropout", blueprint.input_shape, tuple(steps))
    images = example_input(blueprint)
    first, second = (explain(backend.build(b), images, method=method, target="all").maps for b in (blueprint, other))
    assert_close(second, first, 1e-5)


# ---- sanity


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["classifier", "conv1"])
def test_random_weights_change_the_map(backend, method, name):
    blueprint = NETWORKS["vgg_like"]()
    weight = step(blueprint, name).arrays["weight"]
    other = with_arrays(blueprint, name, weight=np.random.default_rng(77).normal(0, weight.std(), weight.shape))
    images = example_input(blueprint)
    first, second = (explain(backend.build(b), images, method=method, target="all").maps for b in (blueprint, other))
    for n in range(len(first)):
        assert np.corrcoef(first[n].ravel(), second[n].ravel())[0, 1] < 0.9


@pytest.mark.parametrize("method", METHODS)
def test_a_scaled_logit_scales_the_map(backend, method):
    blueprint = NETWORKS["vgg_like"]()
    head = step(blueprint, "classifier").arrays
    other = with_arrays(blueprint, "classifier", weight=head["weight"] * 8, bias=head["bias"] * 8)
    images = example_input(blueprint)
    first, second = (explain(backend.build(b), images, method=method, target="all").maps for b in (blueprint, other))
    assert_close(second, first * (64 if method == "clear" else 8), 1e-5)  # class maps enter CLEAR twice


# ---- CLEAR's pullback is linear, and adjoint to the network's derivative


@pytest.mark.parametrize(("dtype", "share"), [("float32", 1e-5), ("float64", 1e-10)])
def test_pullbacks_are_linear(backend, dtype, share):
    from xai_med.backend.start import AtInput

    blueprint = NETWORKS["densenet_like"]()
    network = backend.network(backend.build(blueprint, dtype=dtype))
    batch = network.batch(example_input(blueprint))
    generator = np.random.default_rng(3)
    first, second = generator.normal(size=(2, 2, 4)).astype(dtype)
    with network.trace(batch, start=AtInput()) as trace:
        seeds = [first, second, 2 * first - 3 * second]
        cotangents = [trace.tensors.from_numpy(seed, trace.output) for seed in seeds]
        results = [trace.tensors.to_numpy(r) for r in trace.pullback(trace.output, cotangents, trace.captured)]
    assert_close(2 * results[0] - 3 * results[1], results[2], share)


def test_pullbacks_are_adjoint_to_the_derivative(backend):
    from xai_med.backend.start import AtInput

    blueprint = NETWORKS["densenet_like"]()
    images = example_input(blueprint, 1).astype(np.float64)
    network = backend.network(backend.build(blueprint, dtype="float64"))
    generator = np.random.default_rng(4)
    y, x = generator.normal(size=(1, 4)), generator.normal(size=images.shape)
    with network.trace(network.batch(images), start=AtInput()) as trace:
        cotangent = trace.tensors.from_numpy(y, trace.output)
        (back,) = (trace.tensors.to_numpy(r) for r in trace.pullback(trace.output, [cotangent], trace.captured))
    small = 1e-6
    forward = (logits_of(blueprint, images + small * x) - logits_of(blueprint, images - small * x)) / (2 * small)
    assert (y * forward).sum() == pytest.approx((back * x).sum(), rel=1e-6)
    # exactly, by the oracle's adjoint
    exact = oracle.vector_jacobian(blueprint, images, of="classifier", cotangent=y)
    assert (exact * x).sum() == pytest.approx((back * x).sum(), rel=1e-7)


def test_methods_without_class_maps_say_so(backend):
    for name in ("fully_connected_head", "hidden_layer_head", "max_pool_head"):
        blueprint = NETWORKS[name]()
        with pytest.raises(NotApplicableError):
            explain(backend.build(blueprint), example_input(blueprint), method="cam", target=Classes(0))
        result = explain(backend.build(blueprint), example_input(blueprint), method="clear")
        assert "pulled back from: logits" in result.rules


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["vgg_like", "resnet_like", "densenet_like", "signal", "volume"])
def test_frameworks_agree(name, method):
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    from xai_med.registry import get_backend

    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    first, second = (
        explain(get_backend(framework).build(blueprint, dtype="float64"), images, method=method, target="all")
        for framework in ("torch", "paddle")
    )
    assert first.backend != second.backend
    assert_close(second.maps, first.maps, 1e-6)
    first, second = (
        explain(get_backend(framework).build(blueprint), images, method=method, target="all")
        for framework in ("torch", "paddle")
    )
    assert_close(second.maps, first.maps, 1e-4)
