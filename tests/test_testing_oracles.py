"""The oracles against what is more basic still: differences, conservation, arithmetic on paper."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from xai_med.blueprints import INPUT, Blueprint, Step
from xai_med.errors import NotApplicableError, SettingError, TargetError, UnsupportedOperationError
from xai_med.testing.network_layers import plain
from xai_med.testing.networks import NETWORKS, example_input
from xai_med.testing.oracle import (
    class_maps,
    forward,
    grad_cam,
    logits_step,
    relevance,
    step_relevances,
    vector_jacobian,
)
from xai_med.testing.oracle_relevance import _stabilised

Run = Callable[[Blueprint, np.ndarray], np.ndarray]
HEADS_WITH_MAPS = [
    "vgg_like",
    "densenet_like",
    "convolution_head",
    "class_kernels",
    "volume",
    "softmax_output",
]


def with_torch(blueprint: Blueprint, images: np.ndarray) -> np.ndarray:
    torch = pytest.importorskip("torch")
    network: Any = importlib.import_module("xai_med_torch.blueprint").build(blueprint, dtype="float64")
    with torch.no_grad():
        return network(torch.from_numpy(images.copy())).numpy()


def with_paddle(blueprint: Blueprint, images: np.ndarray) -> np.ndarray:
    paddle = pytest.importorskip("paddle")
    network: Any = importlib.import_module("xai_med_paddle.blueprint").build(blueprint, dtype="float64")
    with paddle.no_grad():
        return network(paddle.to_tensor(images)).numpy()


@pytest.fixture(params=[with_torch, with_paddle], ids=["torch", "paddle"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param


def pointwise(name: str, source: str, weight: list[list[float]], bias: list[float] | None = None) -> Step:
    matrix = np.array(weight)
    arrays = {"weight": matrix.reshape(*matrix.shape, 1, 1)}
    return Step(name, "convolution", (source,), arrays | ({} if bias is None else {"bias": np.array(bias)}))


def dense(name: str, source: str, weight: list[list[float]]) -> Step:
    return Step(name, "linear", (source,), {"weight": np.array(weight)})


def norm(name: str, source: str, *, scale: float, shift: float, mean: float, variance: float) -> Step:
    values = {"weight": scale, "bias": shift, "running_mean": mean, "running_var": variance}
    arrays = {key: np.array([value]) for key, value in values.items()}
    return Step(name, "batch_norm", (source,), arrays, {"epsilon": 0.0})


def pixel(*channels: float) -> np.ndarray:
    return np.array(channels).reshape(1, -1, 1, 1)


def network(*steps: Step, shape: tuple[int, ...] = (2, 1, 1)) -> Blueprint:
    return Blueprint("paper", shape, steps)


def two_layers(*, bias: list[float] | None = None) -> Blueprint:
    """Layers of the worked example in which (1, 2) becomes (2, 1) becomes 3."""
    return network(
        pointwise("first", INPUT, [[1, 0.5], [-1, 1]], bias),
        plain("relu", "relu", "first"),
        plain("flat", "flatten", "relu"),
        dense("second", "flat", [[2, -1]]),
    )


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_forward_equals_the_built_network(name: str, run: Run) -> None:
    blueprint = NETWORKS[name]()
    images = example_input(blueprint).astype(np.float64)
    expected = forward(blueprint, images)[blueprint.steps[-1].name]
    assert_allclose(run(blueprint, images), expected, rtol=0, atol=1e-10)


def test_gate_by_multiplication_equals_the_built_network(run: Run) -> None:
    gated = gate_network()
    images = example_input(gated).astype(np.float64)
    assert_allclose(run(gated, images), forward(gated, images)["flat"], rtol=0, atol=1e-10)


def gate_network() -> Blueprint:
    return network(
        plain("pool", "global_average_pool", INPUT),
        plain("gate", "sigmoid", "pool"),
        plain("gated", "multiply", INPUT, "gate"),
        plain("flat", "flatten", "gated"),
        shape=(2, 3, 2),
    )


def differences(blueprint: Blueprint, image: np.ndarray, of: str, cotangent: np.ndarray) -> np.ndarray:
    step = 1e-6
    shifts = step * np.eye(image.size).reshape(-1, *image.shape)
    above, below = (forward(blueprint, image + sign * shifts)[of] for sign in (1, -1))
    slopes = ((above - below) * cotangent).reshape(image.size, -1).sum(axis=1) / (2 * step)
    return slopes.reshape(image.shape)


@pytest.mark.parametrize(
    "name",
    [
        "vgg_like",
        "resnet_like",
        "densenet_like",
        "grouped",
        "forked",
        "signal",
        "volume",
        "fully_connected_head",
        "max_pool_head",
        "smooth",
        "softmax_output",
    ],
)
def test_masked_adjoint_equals_central_differences(name: str) -> None:
    assert_adjoint_equals_differences(NETWORKS[name]())


def test_masked_adjoint_equals_central_differences_of_a_gate() -> None:
    assert_adjoint_equals_differences(gate_network())


def assert_adjoint_equals_differences(blueprint: Blueprint) -> None:
    images = example_input(blueprint, count=1, seed=5).astype(np.float64)
    of = blueprint.steps[-1].name
    output = forward(blueprint, images)[of]
    cotangent = np.random.default_rng(0).normal(size=output.shape)
    adjoint = vector_jacobian(blueprint, images, of=of, cotangent=cotangent)
    expected = differences(blueprint, images[0], of, cotangent[0])
    assert_allclose(adjoint[0], expected, rtol=0, atol=1e-7 * np.abs(expected).max() + 1e-9)


def test_adjoint_to_a_layer_continues_to_the_input() -> None:
    blueprint = NETWORKS["densenet_like"]()
    images = example_input(blueprint)
    at_logits = np.ones((2, 4))
    whole = vector_jacobian(blueprint, images, of="classifier", cotangent=at_logits)
    at_layer = vector_jacobian(blueprint, images, of="classifier", cotangent=at_logits, to="a_out")
    rest = vector_jacobian(blueprint, images, of="a_out", cotangent=at_layer)
    assert_allclose(rest, whole, rtol=1e-12, atol=1e-15)


CLEAR_IMAGE = np.array([[1, 2, 0, -1], [0, 3, -2, 0], [-1, 0, 1, 0], [0, -4, 2, 1]], dtype=float)


def clear_response(relu: str) -> np.ndarray:
    """Back-projection of class 1 with psi = identity in METHODS 5.3; head weights (0.5, 1)."""
    blueprint = network(
        pointwise("conv", INPUT, [[1], [-1]]),
        plain("relu", "relu", "conv"),
        plain("pool", "max_pool", "relu", kernel=2, stride=2),
        shape=(1, 4, 4),
    )
    images = CLEAR_IMAGE[None, None]
    weights = np.array([0.5, 1.0])
    class_map = np.einsum("k,nkhw->nhw", weights, forward(blueprint, images)["pool"])
    assert_allclose(class_map[0], [[1.5, 2], [4, 1]])
    cotangent = weights[None, :, None, None] * class_map[:, None]
    return vector_jacobian(blueprint, images, of="pool", cotangent=cotangent, relu=relu)[0, 0]


def test_mask_gives_the_worked_class_response() -> None:
    expected = np.zeros((4, 4))
    expected[1, 1], expected[1, 2], expected[3, 1], expected[3, 2] = 0.75, -2, -4, 0.5
    assert_allclose(clear_response("mask"), expected)


def test_identity_adds_mass_where_whole_windows_were_off() -> None:
    expected = np.zeros((4, 4))
    expected[1, 1], expected[1, 2], expected[3, 1], expected[3, 2] = 0.75, -2, -4, 0.5
    expected[0, 0], expected[0, 2], expected[2, 0], expected[2, 2] = -1.5, 1, 2, -1
    assert_allclose(clear_response("identity"), expected)


@pytest.mark.parametrize(
    ("relu", "expected"),
    [
        ("mask", [3, -3, 0, 0]),
        ("identity", [3, -3, 3, -3]),
        ("deconv", [3, 0, 3, 0]),
        ("guided", [3, 0, 0, 0]),
    ],
)
def test_each_relu_rule_keeps_what_it_says(relu: str, expected: list[float]) -> None:
    blueprint = network(plain("relu", "relu", INPUT), shape=(4, 1))
    images = np.array([1.0, 1.0, -1.0, -1.0]).reshape(1, 4, 1)
    cotangent = np.array([3.0, -3.0, 3.0, -3.0]).reshape(1, 4, 1)
    given = vector_jacobian(blueprint, images, of="relu", cotangent=cotangent, relu=relu)
    assert_allclose(given.ravel(), expected)


def test_unknown_relu_rule_is_refused() -> None:
    with pytest.raises(SettingError, match="use one of"):
        vector_jacobian(two_layers(), pixel(1, 2), of="second", cotangent=np.ones((1, 1)), relu="leaky")


def test_equal_cells_of_a_max_pool_give_all_to_the_first() -> None:
    blueprint = network(plain("pool", "max_pool", INPUT, kernel=3), shape=(1, 3))
    given = vector_jacobian(blueprint, np.array([[[0.0, 2.0, 2.0]]]), of="pool", cotangent=np.ones((1, 1, 1)))
    assert_allclose(given.ravel(), [0, 1, 0])


def test_relevance_of_the_worked_example() -> None:
    given = step_relevances(two_layers(), pixel(1, 2), target=0, epsilon=1e-12)
    assert_allclose(given["relu"].ravel(), [4, -1], atol=1e-9)
    assert_allclose(given[INPUT].ravel(), [2, 1], atol=1e-9)


def test_coefficient_one_over_logit_starts_from_one() -> None:
    given = relevance(two_layers(), pixel(1, 2), target=np.array([1 / 3]), epsilon=1e-12)
    assert_allclose(given.ravel(), [2 / 3, 1 / 3], atol=1e-9)


def test_epsilon_of_a_linear_layer_takes_its_share() -> None:
    blueprint = network(plain("flat", "flatten", INPUT), dense("second", "flat", [[2, -1]]))
    given = relevance(blueprint, pixel(2, 1), target=0, epsilon=0.1)
    assert_allclose(given.ravel(), [4 / 3.1 * 3, -1 / 3.1 * 3])
    assert_allclose(given.sum(), 2.903226, atol=1e-6)


def test_epsilon_is_added_with_the_sign_of_the_denominator() -> None:
    blueprint = network(plain("flat", "flatten", INPUT), dense("second", "flat", [[-2, 1]]))
    given = relevance(blueprint, pixel(2, 1), target=0, epsilon=0.1)
    assert_allclose(given.ravel(), [-4 / 3.1 * 3, 1 / 3.1 * 3])


def test_sign_of_a_zero_denominator_is_positive() -> None:
    assert_allclose(_stabilised(np.array([0.0, 2.0, -2.0]), 0.5), [0.5, 2.5, -2.5])


def test_pass_gives_nothing_to_a_unit_that_is_off() -> None:
    blueprint = network(
        pointwise("left", INPUT, [[1]]),
        pointwise("right", INPUT, [[-1]]),
        plain("sum", "add", "left", "right"),
        norm("norm", "sum", scale=1, shift=5, mean=0, variance=1),
        plain("flat", "flatten", "norm"),
        shape=(1, 1, 1),
    )
    given = step_relevances(blueprint, pixel(1), target=0)
    assert_allclose([given["norm"].item(), given["sum"].item(), given["left"].item()], [5, 0, 0])


def test_positive_bias_of_a_convolution_takes_its_share() -> None:
    given = relevance(two_layers(bias=[1, 1]), pixel(1, 2), target=0, epsilon=1e-12)
    assert_allclose(given.ravel(), [2, 2 / 3], atol=1e-9)


def test_linear_layers_share_by_contribution() -> None:
    blueprint = network(
        plain("flat", "flatten", INPUT),
        dense("first", "flat", [[1, 0.5], [-1, 1]]),
        plain("relu", "relu", "first"),
        dense("second", "relu", [[2, -1]]),
    )
    assert_allclose(relevance(blueprint, pixel(1, 2), target=0, epsilon=1e-12).ravel(), [3, 0], atol=1e-9)


def test_negative_input_with_negative_weight_is_a_positive_part() -> None:
    blueprint = network(pointwise("conv", INPUT, [[0.5, -1]]), plain("flat", "flatten", "conv"))
    given = relevance(blueprint, pixel(1, -2), target=np.array([1 / 2.5]), epsilon=1e-12)
    assert_allclose(given.ravel(), [0.2, 0.8], atol=1e-9)


def test_average_pool_shares_in_proportion() -> None:
    blueprint = network(plain("pool", "global_average_pool", INPUT, style="mean"), shape=(1, 2))
    given = relevance(blueprint, np.array([[[1.0, 3.0]]]), target=np.array([0.5]), epsilon=1e-12)
    assert_allclose(given.ravel(), [0.25, 0.75], atol=1e-9)


def test_addition_shares_in_proportion_with_signs() -> None:
    blueprint = network(
        pointwise("left", INPUT, [[3]]),
        pointwise("right", INPUT, [[-1]]),
        plain("sum", "add", "left", "right"),
        plain("flat", "flatten", "sum"),
        shape=(1, 1, 1),
    )
    given = step_relevances(blueprint, pixel(1), target=np.array([0.5]), epsilon=1e-12)
    assert_allclose([given["left"].item(), given["right"].item()], [1.5, -0.5], atol=1e-9)
    assert_allclose(given[INPUT].item(), 1.5, atol=1e-9)  # right has no positive part and swallows its share


def test_batch_norm_behind_a_convolution_is_merged() -> None:
    blueprint = network(
        pointwise("conv", INPUT, [[2]], [0]),
        norm("norm", "conv", scale=4, shift=6, mean=1, variance=4),
        plain("flat", "flatten", "norm"),
        shape=(1, 1, 1),
    )
    # w' = 4, b' = 4: the value is 16, of which 12 come from the input
    given = step_relevances(blueprint, pixel(3), target=0, epsilon=1e-12)
    assert_allclose(given[INPUT].item(), 12, atol=1e-9)
    assert given["conv"].item() == 0


def test_batch_norm_elsewhere_hands_relevance_on() -> None:
    blueprint = network(
        norm("norm", INPUT, scale=4, shift=6, mean=1, variance=4),
        plain("flat", "flatten", "norm"),
        shape=(1, 1, 1),
    )
    assert_allclose(relevance(blueprint, pixel(3), target=0).item(), 10, atol=1e-9)


def test_another_reader_of_a_merged_convolution_sees_it_unmerged() -> None:
    blueprint = network(
        pointwise("conv", INPUT, [[2]], [4]),
        norm("norm", "conv", scale=2, shift=-10, mean=0, variance=1),
        plain("sum", "add", "norm", "conv"),
        plain("flat", "flatten", "sum"),
        shape=(1, 1, 1),
    )
    # x = 3: conv 10, norm 10, sum 20; merged w' = 4, b' = -2 loses nothing, unmerged keeps 6 of 10
    assert_allclose(relevance(blueprint, pixel(3), target=0, epsilon=1e-12).item(), 10 + 6, atol=1e-9)


def test_max_pool_gives_all_relevance_to_the_first_winner() -> None:
    blueprint = network(plain("pool", "global_max_pool", INPUT), plain("flat", "flatten", "pool"), shape=(1, 3))
    assert_allclose(relevance(blueprint, np.array([[[1.0, 2.0, 2.0]]]), target=0).ravel(), [0, 2, 0])


@pytest.mark.parametrize("name", ["bias_free_resnet", "bias_free_densenet"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_relevance_is_conserved_without_biases(name: str, seed: int) -> None:
    blueprint = NETWORKS[name]()
    images = example_input(blueprint, count=2, seed=seed)
    logits = forward(blueprint, images)["classifier"]
    given = relevance(blueprint, images, target=1, epsilon=1e-9)
    assert_allclose(given.sum(axis=(1, 2, 3)), logits[:, 1], rtol=1e-5)


@pytest.mark.parametrize("name", ["sigmoid_output", "softmax_output"])
def test_relevance_looks_through_the_final_activation(name: str) -> None:
    blueprint, bare = NETWORKS[name](), NETWORKS["vgg_like"]()
    images = example_input(bare)
    assert logits_step(blueprint) == "classifier"
    assert_allclose(relevance(blueprint, images, target=2), relevance(bare, images, target=2), rtol=0, atol=0)


def test_a_gate_receives_no_relevance() -> None:
    images = example_input(gate_network(), count=2).astype(np.float64)
    given = relevance(gate_network(), images, target=3, epsilon=0.0)
    value = forward(gate_network(), images)["flat"][:, 3]
    expected = np.zeros((2, 12))
    expected[:, 3] = value
    assert_allclose(given.reshape(2, 12), expected, rtol=1e-12)


def test_two_equal_factors_share_relevance_evenly() -> None:
    square = network(plain("product", "multiply", INPUT, INPUT), plain("flat", "flatten", "product"), shape=(2, 3, 2))
    images = example_input(square).astype(np.float64)
    given = relevance(square, images, target=1, epsilon=0.0)
    assert given[0, 0, 0, 1] == pytest.approx(images[0, 0, 0, 1] ** 2)


def test_relevance_through_a_sigmoid_away_from_the_output_is_refused() -> None:
    hidden = network(plain("gate", "sigmoid", INPUT), plain("sum", "add", "gate", INPUT), shape=(2, 3, 2))
    with pytest.raises(UnsupportedOperationError, match="'gate' is sigmoid"):
        relevance(
            replace(hidden, steps=(*hidden.steps, plain("flat", "flatten", "sum"))), example_input(hidden), target=0
        )


def test_class_beyond_the_outputs_is_refused() -> None:
    with pytest.raises(TargetError, match=r"class 1 was asked for, the model has 1 outputs \(0\.\.0\)"):
        relevance(two_layers(), pixel(1, 2), target=1)


@pytest.mark.parametrize("name", HEADS_WITH_MAPS)
def test_class_maps_average_to_the_logits(name: str) -> None:
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    features, weights, bias = class_maps(blueprint, images)
    means = features.reshape(*features.shape[:2], -1).mean(axis=2)
    expected = forward(blueprint, images)[logits_step(blueprint)].reshape(2, -1)
    assert_allclose(means @ weights.T + bias, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["fully_connected_head", "hidden_layer_head", "max_pool_head"])
def test_class_maps_of_another_head_are_refused(name: str) -> None:
    blueprint = NETWORKS[name]()
    with pytest.raises(NotApplicableError, match="global average pool"):
        class_maps(blueprint, example_input(blueprint))


def test_grad_cam_before_the_pool_is_the_positive_class_map_over_its_cells() -> None:
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint)
    features, weights, _ = class_maps(blueprint, images)
    class_map = np.einsum("k,nkhw->nhw", weights[1], features)
    expected = np.maximum(class_map, 0) / class_map[0].size
    assert_allclose(grad_cam(blueprint, images, layer="relu2", target=1), expected, rtol=0, atol=1e-14)
    assert (expected > 0).any()
