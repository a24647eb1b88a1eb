"""Excitation backprop: probabilities and their contrast against contributions written out and on paper, refusals."""

from functools import cache

import expectations
import numpy as np
import pytest
import transformer
from numpy.testing import assert_allclose
from paper_networks import dense, explained, network, norm, pixel, pointwise

from xai_med import Contrast, attribute, explain
from xai_med.errors import NotApplicableError, SettingError, UnsupportedOperationError
from xai_med.testing import NETWORKS, check_method, example_input, oracle
from xai_med.testing.check_backend import relative
from xai_med.testing.network_layers import plain
from xai_med.testing.oracle_rules import contrastive_shares, excitation_shares

RULES = dict.fromkeys(("convolution", "linear", "add", "average_pool", "global_average_pool"), excitation_shares)
CONTRASTIVE = {**RULES, "classifier": contrastive_shares}


@cache
def slow(name, *, contrastive):
    """Probabilities of each class's unit by the oracle, whose pass starts from the logit, (N, K, C, *space)."""
    blueprint, images, scores = NETWORKS[name](), expectations.images(name), expectations.logits(name)
    rules = CONTRASTIVE if contrastive else RULES
    maps = [oracle.relevance(blueprint, images, target=k, rules=rules) for k in range(scores.shape[1])]
    found = np.stack(maps, axis=1)
    return found / scores.reshape(*scores.shape, *(1,) * (found.ndim - 2))


def ask(backend, blueprint, images, **asked):
    return explained(backend, blueprint, images, method="excitation_backprop", **asked)


def sums(found):
    return found.attribution.reshape(*found.scores.shape, -1).sum(axis=2)


# ---- every network


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_probabilities_of_every_class(name, backend):
    found = ask(backend, NETWORKS[name](), expectations.images(name))
    assert relative(found.attribution, slow(name, contrastive=False)) < 1e-10
    assert_allclose(found.maps, found.attribution.sum(axis=2), atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"class_kernels"}))
def test_contrast_with_the_dual_units(name, backend):
    found = ask(backend, NETWORKS[name](), expectations.images(name), contrastive=True)
    assert relative(found.attribution, slow(name, contrastive=True)) < 1e-10
    assert found.attribution.min() < 0 < found.attribution.max()
    assert_allclose(sums(found).ravel()[np.abs(sums(found)).argmax()], found.check("sum").value, atol=1e-12)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_probabilities_are_nowhere_negative_and_sum_to_one_less_the_lost_share(name, backend):
    found = ask(backend, NETWORKS[name](), expectations.images(name))
    assert found.attribution.min() >= 0
    assert sums(found).max() <= 1 + 1e-12
    assert_allclose((1 - sums(found)).max(), max(found.check("lost_share").value, 0), atol=1e-12)


@pytest.mark.parametrize("name", ["bias_free_resnet", "bias_free_densenet", "smooth"])
def test_nothing_is_lost_where_every_unit_is_excited(name, backend):
    assert_allclose(sums(ask(backend, NETWORKS[name](), expectations.images(name))), 1, atol=1e-12)


def test_method_keeps_the_contract_in_every_framework():
    report = check_method("excitation_backprop")
    assert report.refused == ()
    assert report.between_frameworks < 1e-12


@pytest.mark.parametrize("contrastive", [False, True])
@pytest.mark.parametrize("name", ["resnet_like", "densenet_like", "volume", "smooth"])
def test_probabilities_are_verified_by_difference_quotients(name, contrastive, backend):
    blueprint = NETWORKS[name]()
    for dtype, tolerance in (("float64", 1e-6), ("float32", 5e-3)):
        model = backend.build(blueprint, dtype=dtype)
        images = example_input(blueprint, 2).astype(dtype)
        found = explain(model, images, method="excitation_backprop", target="all", contrastive=contrastive, verify=True)
        assert found.all_passed
        assert found.check("steepest_direction").value < tolerance


# ---- on paper


def two_layers(first, second, bias=None):
    return network(
        pointwise("first", "input", first, bias),
        plain("relu", "relu", "first"),
        plain("flat", "flatten", "relu"),
        dense("second", "flat", [second]),
    )


def test_two_layers_on_paper(backend):
    # hidden (2, 3), excited 4 : 3 by (1, 2) with weights (2, 0) and (1, 1); above, 2 x 1 : 3 x 2
    blueprint = two_layers([[2, 0], [1, 1]], [1, 2])
    found = ask(backend, blueprint, pixel(1, 2))
    assert_allclose(found.scores, [[8]])
    first, second = 2 / 8, 6 / 8
    assert_allclose(found.attribution.ravel(), [first + second / 3, second * 2 / 3], atol=1e-12)


def test_weights_below_zero_and_biases_have_no_share(backend):
    # hidden: 2 - 2 + 5 and 1 + 2 + 5; only the first pixel excites the first unit
    found = ask(backend, two_layers([[2, -1], [1, 1]], [1, -1], [5, 5]), pixel(1, 2))
    assert_allclose(found.attribution.ravel(), [1, 0], atol=1e-12)
    assert found.check("signed_inputs").value == 0


def test_probability_is_that_of_the_unit_whatever_its_logit_is(backend):
    # logits 2 - 3 = -1: the same walk as with a logit above zero
    found = ask(backend, two_layers([[2, 0], [1, 1]], [1, -1]), pixel(1, 2))
    assert_allclose(found.scores, [[-1]])
    assert_allclose(found.attribution.ravel(), [1, 0], atol=1e-12)


def test_contrast_on_paper(backend):
    # the unit's walk goes through the first hidden unit alone, (1, 0); the dual's through the second, (1/3, 2/3)
    found = ask(backend, two_layers([[2, 0], [1, 1]], [1, -1]), pixel(1, 2), contrastive=True)
    assert_allclose(found.attribution.ravel(), [2 / 3, -2 / 3], atol=1e-12)
    assert_allclose(found.check("sum").value, 0, atol=1e-12)
    assert "at layers 1 to 1: contrastive excitation(0)" in found.rules


def test_a_unit_that_nothing_excites_loses_its_probability(backend):
    found = ask(backend, two_layers([[2, 0], [1, 1]], [-1, -1]), pixel(1, 2))
    assert not found.attribution.any()
    assert found.check("lost_share").value == 1


def test_pixels_below_zero_excite_by_weights_below_zero_and_are_counted(backend):
    blueprint = network(
        pointwise("conv", "input", [[0.5, -1]]), plain("flat", "flatten", "conv"), dense("head", "flat", [[0.4]])
    )
    found = ask(backend, blueprint, pixel(1, -2))
    assert_allclose(found.attribution.ravel(), [0.2, 0.8], atol=1e-12)
    assert found.check("signed_inputs").value == 1
    assert found.check("signed_inputs").out_of == 2


@pytest.mark.parametrize(("terms", "expected"), [((3, 1), (0.75, 0.25)), ((3, -1), (1, 0))])
def test_a_sum_is_shared_by_its_terms_above_zero(terms, expected, backend):
    blueprint = network(
        pointwise("left", "input", [[1, 0]]),
        pointwise("right", "input", [[0, 1]]),
        plain("sum", "add", "left", "right"),
        plain("flat", "flatten", "sum"),
        dense("head", "flat", [[1]]),
    )
    assert_allclose(ask(backend, blueprint, pixel(*terms)).attribution.ravel(), expected, atol=1e-12)


def test_batch_norm_is_merged_with_the_convolution_before(backend):
    blueprint = network(
        pointwise("conv", "input", [[1, -1]]),
        norm("norm", "conv", scale=-4, shift=3, mean=1, variance=4),  # turns the signs of the weights
        plain("flat", "flatten", "norm"),
        dense("head", "flat", [[1]]),
    )
    assert_allclose(ask(backend, blueprint, pixel(1, 1)).attribution.ravel(), [0, 1], atol=1e-12)


def test_subtracted_terms_excite_where_they_are_below_zero():
    torch = pytest.importorskip("torch")

    class Difference(torch.nn.Module):
        def forward(self, x):
            return (x[:, :1] * 2 - x[:, 1:]).flatten(1)

    found = explain(Difference(), np.array([[[[3.0]], [[-2.0]]]]), method="excitation_backprop", target=0)
    assert_allclose(found.attribution.ravel(), [6 / 8, 2 / 8], atol=1e-12)
    found = explain(Difference(), np.array([[[[3.0]], [[2.0]]]]), method="excitation_backprop", target=0)
    assert_allclose(found.attribution.ravel(), [1, 0], atol=1e-12)


# ---- what is refused


@pytest.mark.parametrize("target", [Contrast(0, 1), "negative"])
def test_anything_but_one_unit_is_refused(target, backend):
    blueprint = NETWORKS["single_logit" if target == "negative" else "vgg_like"]()
    with pytest.raises(NotApplicableError, match="begins at one output unit, not at "):
        ask(backend, blueprint, example_input(blueprint), target=target)


def test_a_logit_of_zero_is_refused(backend):
    with pytest.raises(NotApplicableError, match="a logit is zero"):
        ask(backend, two_layers([[1, 0], [0, 1]], [2, -1]), pixel(1, 2))


def test_a_contrast_without_a_layer_of_the_classes_is_refused(backend):
    blueprint = NETWORKS["class_kernels"]()
    with pytest.raises(NotApplicableError, match="contrastive excitation backprop needs logits that a layer with"):
        ask(backend, blueprint, example_input(blueprint), contrastive=True)


def test_a_gate_is_refused_by_name(backend):
    blueprint = network(
        plain("pool", "global_average_pool", "input"),
        plain("gate", "sigmoid", "pool"),
        plain("gated", "multiply", "input", "gate"),
        plain("flat", "flatten", "gated"),
        dense("head", "flat", np.ones((1, 12))),
        shape=(2, 3, 2),
    )
    with pytest.raises(UnsupportedOperationError, match="'excitation_backprop' have none for multiply"):
        ask(backend, blueprint, example_input(blueprint))


def test_attention_is_refused_by_name(backend):
    model = transformer.MODELS[backend.name](transformer.weights(), fused=True)
    with pytest.raises(UnsupportedOperationError, match="'excitation_backprop' have none for"):
        explain(model, np.ones((1, 2, 6, 4)), method="excitation_backprop", target=0)


def test_a_constant_that_is_added_is_refused():
    torch = pytest.importorskip("torch")

    class Normalising(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(4, 2).double()

        def forward(self, x):
            return self.head(((x - 0.5) / 0.2).flatten(1))

    with pytest.raises(NotApplicableError, match=r"sub adds a constant to a signal, .* put it outside the model"):
        explain(Normalising(), np.ones((1, 1, 2, 2)), method="excitation_backprop", target=0)


def test_a_layer_and_training_are_refused(backend):
    model = backend.build(two_layers([[1, 0], [0, 1]], [2, 1]), dtype="float64")
    with pytest.raises(SettingError, match="excitation_backprop is taken at the input and has no layer"):
        explain(model, pixel(1, 2), method="excitation_backprop", layer="first")
    with pytest.raises(NotApplicableError, match=r"what excitation_backprop hands back .* is not differentiable"):
        attribute(model, pixel(1, 2), method="excitation_backprop", differentiable=True)
