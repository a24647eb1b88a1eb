"""LRP against the oracle, the first-layer rules against dense sums, the worked examples, conservation, refusals."""

from dataclasses import replace

import expectations
import numpy as np
import pytest
from numpy.testing import assert_allclose
from paper_networks import dense, explained, network, norm, pixel, pointwise, pooled

from xai_med import Contrast, Probability, attribute
from xai_med.backend.operations import Kind
from xai_med.blueprints import Blueprint
from xai_med.blueprints.weights import weights_of, with_weights
from xai_med.errors import NotApplicableError, SettingError, UnsupportedOperationError
from xai_med.rules import Composite, Epsilon, Flat, WSquare, ZBox, epsilon_everywhere, epsilon_plus
from xai_med.testing import NETWORKS, example_input, oracle
from xai_med.testing.check_backend import relative
from xai_med.testing.network_layers import convolution, linear, plain
from xai_med.testing.oracle_forward import affine_map, scale_and_shift


def relevance(backend, blueprint, images, **asked):
    """Relevance of class 0 of one image."""
    return explained(backend, blueprint, images, method="lrp", target=0, **asked).attribution[0, 0]


def lost_share(found):
    return {check.name: check for check in found.checks}["lost share of relevance"]


def two_layers(*, bias=None):
    """METHODS 4.5: (1, 2) becomes (2, 1) becomes 3."""
    return network(
        pointwise("first", "input", [[1, 0.5], [-1, 1]], bias),
        plain("relu", "relu", "first"),
        plain("flat", "flatten", "relu"),
        dense("second", "flat", [[2, -1]]),
    )


# ---- every network


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_relevance_of_every_logit(name, backend):
    blueprint = NETWORKS[name]()
    found = explained(backend, blueprint, expectations.images(name), method="lrp")
    assert relative(found.attribution, expectations.relevances(name)) < 1e-10
    assert found.maps.shape == (*found.scores.shape, *blueprint.input_shape[1:])
    assert_allclose(found.maps, found.attribution.sum(axis=2), rtol=0, atol=1e-6 * np.abs(found.maps).max())


@pytest.mark.parametrize("name", ["vgg_like", "resnet_like", "densenet_like", "grouped"])
def test_epsilon_is_that_of_every_rule(name, backend):
    found = explained(backend, NETWORKS[name](), expectations.images(name), method="lrp", epsilon=0.05)
    expected = expectations.relevances(name, 0.05)
    assert relative(found.attribution, expected) < 1e-10
    assert relative(expected, expectations.relevances(name)) > 1e-3
    assert "convolution: z_plus(0.05)" in found.rules


@pytest.mark.parametrize("name", ["bias_free_resnet", "bias_free_densenet"])
def test_epsilon_everywhere_is_input_times_gradient_without_biases(name, backend):
    images = expectations.images(name)
    found = explained(backend, NETWORKS[name](), images, method="lrp", composite="epsilon", epsilon=1e-12)
    assert relative(found.attribution, images[:, None] * expectations.gradients(name)) < 1e-8
    assert relative(found.attribution, expectations.relevances(name)) > 1e-2


def test_contrast_is_the_difference_of_relevances(backend):
    found = explained(
        backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method="lrp", target=Contrast(2, 1)
    )
    both = expectations.relevances("vgg_like")
    # the pass starts from coefficient x logit, so that each class's relevance is its own
    assert relative(found.attribution[:, 0], both[:, 2] - both[:, 1]) < 1e-10


# ---- rules of the first layer


def first_layer_network(*, normed):
    """Strided, padded first convolution with bias, on signed images, with or without a batch norm to merge."""
    generator = np.random.default_rng(3)
    first = convolution(generator, "first", "input", (4, 2, 3, 3), padding=1, stride=2)
    after = replace(NETWORKS["vgg_like"]().steps[1], name="norm", inputs=("first",))
    return Blueprint(
        "first",
        (2, 7, 6),
        (
            first,
            *((after,) if normed else ()),
            plain("relu", "relu", "norm" if normed else "first", style="functional"),
            plain("pool", "global_average_pool", "relu"),
            plain("flat", "flatten", "pool"),
            linear(generator, "head", "flat", (3, 4)),
        ),
    )


def dense_first_layer(blueprint, images, epsilon, *, parts):
    """Hand relevance from the ReLU to pixels: `parts` (N, outputs, pixels) says how much each contributes."""
    steps = {step.name: step for step in blueprint.steps}
    first = steps["first"]
    matrix = affine_map(first, blueprint.input_shape).matrix
    connected = affine_map(
        replace(first, arrays={**first.arrays, "weight": np.ones_like(first.arrays["weight"])}), blueprint.input_shape
    ).matrix
    if "norm" in steps:
        scale = scale_and_shift(steps["norm"])[0]
        matrix = matrix * np.repeat(scale, len(matrix) // len(scale))[:, None]
    shares = parts(images.reshape(len(images), -1).astype(float), matrix, connected)
    sums = shares.sum(axis=2)
    maps = []
    for k in range(3):
        arriving = oracle.step_relevances(blueprint, images, target=k, epsilon=epsilon)["relu"]
        signal = oracle.forward(blueprint, images)["norm" if "norm" in steps else "first"]
        arriving = np.where(signal == 0, 0, arriving).reshape(len(images), -1)
        ratio = arriving / (sums + np.where(sums >= 0, epsilon, -epsilon))
        maps.append((shares * ratio[:, :, None]).sum(axis=1).reshape(images.shape))
    return np.stack(maps, axis=1)


FIRST_RULES = {
    "flat": (Flat(), lambda x, w, connected: np.broadcast_to(connected, (len(x), *connected.shape))),
    "w_square": (WSquare(), lambda x, w, connected: np.broadcast_to(w**2, (len(x), *w.shape))),
    "z_box": (
        ZBox(-4.0, 5.0),
        lambda x, w, connected: x[:, None] * w - -4.0 * np.maximum(w, 0) - 5.0 * np.minimum(w, 0),
    ),
}


@pytest.mark.parametrize("normed", [False, True], ids=["alone", "merged"])
@pytest.mark.parametrize("rule", sorted(FIRST_RULES))
def test_first_layer_rule_against_dense_sums(rule, normed, backend):
    blueprint = first_layer_network(normed=normed)
    images = example_input(blueprint)
    first, parts = FIRST_RULES[rule]
    found = explained(backend, blueprint, images, method="lrp", composite=epsilon_plus(first=first))
    expected = dense_first_layer(blueprint, images, 1e-6, parts=parts)
    assert relative(found.attribution, expected) < 1e-10
    assert found.rules[-1] == f"first layer: {first.name}"


@pytest.mark.parametrize("rule", sorted(FIRST_RULES))
def test_first_layer_rules_differ_from_z_plus(rule, backend):
    blueprint = first_layer_network(normed=False)
    images = example_input(blueprint)
    found = explained(backend, blueprint, images, method="lrp", composite=epsilon_plus(first=FIRST_RULES[rule][0]))
    assert relative(found.attribution, explained(backend, blueprint, images, method="lrp").attribution) > 1e-2


def test_flat_composite_by_name(backend):
    blueprint = first_layer_network(normed=True)
    images = example_input(blueprint)
    found = explained(backend, blueprint, images, method="lrp", composite="epsilon_plus_flat")
    assert relative(found.attribution, dense_first_layer(blueprint, images, 1e-6, parts=FIRST_RULES["flat"][1])) < 1e-10


def test_flat_gives_relevance_to_a_black_pixel(backend):
    blueprint = network(
        pointwise("first", "input", [[1, 1]]), plain("flat", "flatten", "first"), dense("head", "flat", [[1]])
    )
    found = relevance(backend, blueprint, pixel(0, 2), composite="epsilon_plus_flat", epsilon=1e-12)
    assert_allclose(found.ravel(), [1, 1], atol=1e-9)
    assert_allclose(relevance(backend, blueprint, pixel(0, 2), epsilon=1e-12).ravel(), [0, 2], atol=1e-9)


def test_first_layer_rule_on_another_layer_is_refused(backend):
    composite = Composite("misplaced", {Kind.LINEAR: Flat()}, epsilon_plus().passing | {Kind.CONVOLUTION})
    with pytest.raises(UnsupportedOperationError, match=r"a first-layer rule was given, but .* does not read"):
        relevance(backend, two_layers(), pixel(1, 2), composite=composite)


def test_first_layer_rule_is_refused_where_a_batch_norm_reads_the_image(backend):
    blueprint = network(
        norm("norm", "input", scale=2, shift=0, mean=0, variance=1),
        pointwise("conv", "norm", [[1]]),
        plain("flat", "flatten", "conv"),
        dense("head", "flat", [[1]]),
        shape=(1, 1, 1),
    )
    with pytest.raises(NotApplicableError, match=r"flat\(1e-06\), but the image goes through .*norm.* first"):
        relevance(backend, blueprint, pixel(3), composite="epsilon_plus_flat")


# ---- METHODS 4.1, 4.2, 4.4, 4.5 on paper


def test_signed_input_with_signed_weight(backend):
    blueprint = network(
        pointwise("conv", "input", [[0.5, -1]]), plain("flat", "flatten", "conv"), dense("head", "flat", [[0.4]])
    )
    assert_allclose(relevance(backend, blueprint, pixel(1, -2), epsilon=1e-12).ravel(), [0.2, 0.8], atol=1e-9)


def test_epsilon_plus_of_the_worked_example(backend):
    assert_allclose(relevance(backend, two_layers(), pixel(1, 2), epsilon=1e-12).ravel(), [2, 1], atol=1e-9)


def test_epsilon_everywhere_of_the_worked_example(backend):
    found = relevance(backend, two_layers(), pixel(1, 2), composite="epsilon", epsilon=1e-12)
    assert_allclose(found.ravel(), [3, 0], atol=1e-9)


def test_start_from_one_is_relevance_over_score(backend):
    found = explained(backend, two_layers(), pixel(1, 2), method="lrp", epsilon=1e-12)
    assert_allclose(found.attribution.ravel() / found.scores.item(), [2 / 3, 1 / 3], atol=1e-9)


def test_stabiliser_of_the_head_takes_its_share(backend):
    base = epsilon_plus(epsilon=1e-12)
    composite = replace(base, rules={**base.rules, Kind.LINEAR: Epsilon(0.1)})
    found = explained(backend, two_layers(), pixel(1, 2), method="lrp", composite=composite)
    assert_allclose(found.attribution.ravel(), [1.935484, 0.967742], atol=1e-6)
    assert_allclose(found.attribution.sum(), 2.903226, atol=1e-6)
    assert_allclose(lost_share(found).value, 1 - 2.903226 / 3, atol=1e-6)


def test_bias_of_a_convolution_takes_its_share(backend):
    found = explained(backend, two_layers(bias=[1, 1]), pixel(1, 2), method="lrp", epsilon=1e-12)
    assert_allclose(found.scores, [[4]])
    assert_allclose(found.attribution.ravel(), [2, 2 / 3], atol=1e-9)
    assert_allclose(lost_share(found).value, 1 / 3, atol=1e-9)


def test_negative_bias_of_a_convolution_takes_no_share(backend):
    blueprint = network(
        pointwise("conv", "input", [[1, 1]], [-1]), plain("flat", "flatten", "conv"), dense("head", "flat", [[1]])
    )
    assert_allclose(relevance(backend, blueprint, pixel(1, 2), epsilon=1e-12).ravel(), [2 / 3, 4 / 3], atol=1e-9)


def test_bias_of_the_head_takes_its_share(backend):
    found = explained(backend, pooled([[1]], (1, 1, 1), bias=[1]), pixel(3), method="lrp", epsilon=1e-12)
    assert_allclose(found.attribution.item(), 3, atol=1e-9)  # 3 / 4 of the score 4
    assert_allclose(lost_share(found).value, 0.25, atol=1e-9)


def test_average_pool_shares_in_proportion(backend):
    found = relevance(backend, pooled([[0.5]], (1, 1, 2)), np.array([[[[1.0, 3.0]]]]), epsilon=1e-12)
    assert_allclose(found.ravel(), [0.25, 0.75], atol=1e-9)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [((3, -1), (1.5, -0.5)), ((1, -0.999), (1000, -999))],  # almost cancelling terms get large shares
)
def test_addition_shares_in_proportion(terms, expected, backend):
    blueprint = network(
        pointwise("left", "input", [[1, 0]]),
        pointwise("right", "input", [[0, 1]]),
        plain("sum", "add", "left", "right"),
        plain("flat", "flatten", "sum"),
        dense("head", "flat", [[1 / sum(terms)]]),
    )
    # z+ of a single negative pixel with a positive weight has no positive part: the epsilon rule shows the split
    found = relevance(backend, blueprint, pixel(*terms), composite="epsilon", epsilon=1e-14)
    assert_allclose(found.ravel(), expected, rtol=1e-8)


def test_batch_norm_behind_a_convolution_is_merged(backend):
    blueprint = network(
        pointwise("conv", "input", [[2]], [0]),
        norm("norm", "conv", scale=4, shift=1, mean=1, variance=4),
        plain("flat", "flatten", "norm"),
        dense("head", "flat", [[1]]),
        shape=(1, 1, 1),
    )
    found = explained(backend, blueprint, pixel(3), method="lrp", epsilon=1e-12)
    assert_allclose(found.scores, [[11]])
    assert_allclose(found.attribution.item(), 11, atol=1e-9)  # w' = 4, b' = -1: a negative bias takes nothing


def test_batch_norm_elsewhere_passes_relevance_on(backend):
    blueprint = network(
        norm("norm", "input", scale=4, shift=1, mean=1, variance=4),
        plain("relu", "relu", "norm"),
        pointwise("conv", "relu", [[3]]),
        plain("flat", "flatten", "conv"),
        dense("head", "flat", [[1]]),
        shape=(1, 1, 1),
    )
    found = explained(backend, blueprint, pixel(3), method="lrp", epsilon=1e-12)
    assert_allclose(found.scores, [[15]])
    assert_allclose(found.attribution.item(), 15, atol=1e-9)


def test_batch_norm_of_a_pixel_that_is_zero_keeps_what_its_shift_made(backend):
    blueprint = network(
        norm("norm", "input", scale=-4, shift=1, mean=1, variance=4),
        plain("relu", "relu", "norm"),
        pointwise("conv", "relu", [[3]]),
        plain("flat", "flatten", "conv"),
        dense("head", "flat", [[1]]),
        shape=(1, 1, 1),
    )
    found = explained(backend, blueprint, pixel(0), method="lrp", epsilon=1e-12)
    assert_allclose(found.scores, [[9]])
    assert found.attribution.item() == 0
    assert_allclose(lost_share(found).value, 1)


# ---- conservation


@pytest.mark.parametrize("name", ["bias_free_resnet", "bias_free_densenet"])
@pytest.mark.parametrize("composite", ["epsilon_plus", "epsilon_plus_flat", "epsilon"])
def test_relevance_is_conserved_without_biases(name, composite, backend):
    found = explained(
        backend, NETWORKS[name](), expectations.images(name), method="lrp", composite=composite, epsilon=1e-10
    )
    sums = found.attribution.reshape(*found.scores.shape, -1).sum(axis=2)
    assert_allclose(sums, found.scores, rtol=1e-5)
    assert abs(lost_share(found).value) < 1e-5


@pytest.mark.parametrize("name", ["vgg_like", "signal", "fully_connected_head"])
def test_what_biases_take_is_reported(name, backend):
    found = explained(backend, NETWORKS[name](), expectations.images(name), method="lrp")
    sums = found.attribution.reshape(*found.scores.shape, -1).sum(axis=2)
    lost = (1 - sums / found.scores).ravel()
    assert_allclose(lost_share(found).value, lost[np.abs(lost).argmax()], rtol=1e-9)
    assert abs(lost_share(found).value) > 0.01


def test_unit_without_positive_part_loses_its_relevance(backend):
    blueprint = network(
        pointwise("conv", "input", [[-1, -1]]), plain("flat", "flatten", "conv"), dense("head", "flat", [[1]])
    )
    found = explained(backend, blueprint, pixel(1, 2), method="lrp")
    assert_allclose(found.scores, [[-3]])
    assert_allclose(found.attribution.ravel(), [0, 0])
    assert_allclose(lost_share(found).value, 1)


def test_epsilon_larger_than_the_activations_removes_weak_evidence(backend):
    shares = [
        lost_share(explained(backend, two_layers(), pixel(1, 2), method="lrp", epsilon=epsilon)).value
        for epsilon in (1e-9, 0.1, 1, 10)
    ]
    assert shares == sorted(shares)
    assert shares[0] < 1e-8
    assert shares[-1] > 0.9


def test_score_as_small_as_the_stabiliser_is_noted(backend):
    found = explained(backend, two_layers(), pixel(1e-6, 2e-6), method="lrp")
    assert "a score is so small that the stabiliser 1e-06 itself absorbs part of it" in lost_share(found).note


def test_max_pool_gives_all_to_the_first_winner(backend):
    blueprint = network(
        pointwise("conv", "input", [[1]]),
        plain("pool", "max_pool", "conv", kernel=2),
        plain("flat", "flatten", "pool"),
        dense("head", "flat", [[1]]),
        shape=(1, 2, 2),
    )
    found = relevance(backend, blueprint, np.array([[[[1.0, 2.0], [2.0, 0.0]]]]), epsilon=1e-12)
    assert_allclose(found[0], [[0, 2], [0, 0]], atol=1e-9)


def test_bias_of_another_class_has_no_effect(backend):
    blueprint = NETWORKS["vgg_like"]()
    images = expectations.images("vgg_like")
    arrays = {name: np.array(array) for name, array in weights_of(blueprint).items()}
    arrays["classifier.bias"][2] += 5
    changed = with_weights(blueprint, arrays)
    found = explained(backend, changed, images, method="lrp", target=0)
    assert relative(found.attribution[:, 0], expectations.relevances("vgg_like")[:, 0]) < 1e-10


# ---- what is refused


def gated():
    return network(
        plain("pool", "global_average_pool", "input"),
        plain("gate", "sigmoid", "pool"),
        plain("gated", "multiply", "input", "gate"),
        plain("flat", "flatten", "gated"),
        dense("head", "flat", np.ones((1, 12))),
        shape=(2, 3, 2),
    )


def test_a_gate_receives_no_relevance(backend):
    images = example_input(gated())
    assert_allclose(
        relevance(backend, gated(), images), oracle.relevance(gated(), images, target=0)[0], rtol=0, atol=1e-12
    )


def test_operation_without_a_rule_is_refused_and_named(backend):
    plus = epsilon_plus()
    without = replace(plus, rules={kind: rule for kind, rule in plus.rules.items() if kind is not Kind.MULTIPLY})
    with pytest.raises(UnsupportedOperationError, match=r"'epsilon_plus' have none for multiply: .* composite"):
        explained(backend, gated(), example_input(gated()), method="lrp", composite=without)


def test_unknown_composite_is_refused(backend):
    with pytest.raises(SettingError, match="composite='gamma' is unknown; choose one of epsilon, epsilon_plus,"):
        relevance(backend, two_layers(), pixel(1, 2), composite="gamma")


@pytest.mark.parametrize("epsilon", [-1.0, np.inf, np.nan, "small"])
def test_impossible_epsilon_is_refused(epsilon, backend):
    with pytest.raises(SettingError, match=r"epsilon (must be a number of at least 0|is a number, got)"):
        relevance(backend, two_layers(), pixel(1, 2), epsilon=epsilon)


def test_epsilon_beside_a_composite_that_has_its_own_is_refused(backend):
    with pytest.raises(SettingError, match=r"epsilon=0\.1 was given beside the composite 'epsilon', which has its own"):
        relevance(backend, two_layers(), pixel(1, 2), composite=epsilon_everywhere(epsilon=1e-9), epsilon=0.1)


def test_layer_is_refused(backend):
    with pytest.raises(SettingError, match="lrp is taken at the input and has no layer"):
        relevance(backend, two_layers(), pixel(1, 2), layer="first")


def test_probability_is_refused(backend):
    blueprint = NETWORKS["sigmoid_output"]()
    with pytest.raises(NotApplicableError, match=r"lrp explains a logit .* or use method='gradient'"):
        explained(backend, blueprint, example_input(blueprint), method="lrp", target=Probability(1))


def test_training_through_relevance_is_refused(backend):
    model = backend.build(two_layers(), dtype="float64")
    with pytest.raises(NotApplicableError, match="fixed denominators and is not differentiable"):
        attribute(model, pixel(1, 2), method="lrp", differentiable=True)
