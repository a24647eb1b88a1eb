"""Gamma, alpha-beta, z-box and excitation rules: against all contributions written out, on paper, and where refused."""

from dataclasses import replace
from functools import cache

import expectations
import numpy as np
import pytest
import transformer
from numpy.testing import assert_allclose
from paper_networks import dense, explained, network, pixel, pointwise

from xai_med import Contrast, explain
from xai_med.backend.operations import Kind
from xai_med.errors import SettingError, UnsupportedOperationError
from xai_med.rules import (
    COMPOSITES,
    AlphaBeta,
    Epsilon,
    Excitation,
    ExcitationShare,
    FixedSpread,
    Flat,
    Gamma,
    IdentityReLU,
    Pass,
    Product,
    Share,
    WSquare,
    ZBox,
    ZPlus,
    epsilon_alpha2_beta1,
    epsilon_everywhere,
    epsilon_gamma_box,
    epsilon_plus,
)
from xai_med.testing import NETWORKS, oracle
from xai_med.testing.check_backend import relative
from xai_med.testing.network_layers import plain
from xai_med.testing.oracle_relevance import FIRST
from xai_med.testing.oracle_rules import (
    alpha_beta_shares,
    box_shares,
    epsilon_shares,
    excitation_shares,
    flat_shares,
    gamma_shares,
    positive_shares,
    square_shares,
)

LOW, HIGH = (-6.0, -5.5, -7.0), (5.0, 6.0, 6.5)


@cache
def slow(name, which, epsilon=1e-6):
    """Relevance of each logit by the oracle, (N, K, C, *space)."""
    rules = case(which, name)[1]
    classes = range(expectations.logits(name).shape[1])
    images = expectations.images(name)
    maps = [oracle.relevance(NETWORKS[name](), images, target=k, epsilon=epsilon, rules=rules) for k in classes]
    return np.stack(maps, axis=1)


def relevance(backend, blueprint, images, **asked):
    return explained(backend, blueprint, images, method="lrp", **asked).attribution


def ranges(name):
    channels = NETWORKS[name]().input_shape[0]
    return LOW[:channels], HIGH[:channels]


def case(which, name):
    """A composite and the oracle's rules."""
    low, high = ranges(name)
    return {
        "epsilon_gamma_box": (
            epsilon_gamma_box(low, high),
            {"convolution": gamma_shares(0.25), "linear": epsilon_shares, FIRST: box_shares(low, high)},
        ),
        "epsilon_alpha2_beta1": ("epsilon_alpha2_beta1", {"convolution": alpha_beta_shares(2, 1)}),
        "epsilon_alpha2_beta1_flat": (
            "epsilon_alpha2_beta1_flat",
            {"convolution": alpha_beta_shares(2, 1), FIRST: flat_shares},
        ),
        "excitation_backprop": (
            "excitation_backprop",
            dict.fromkeys(("convolution", "linear", "add", "average_pool", "global_average_pool"), excitation_shares),
        ),
        "gamma everywhere": (
            epsilon_plus().at("*", Gamma(0.5)),
            {"convolution": gamma_shares(0.5), "linear": gamma_shares(0.5)},
        ),
        "alpha 1.5, beta 0.5 on linear layers": (
            replace(epsilon_plus(), rules={**epsilon_plus().rules, Kind.LINEAR: AlphaBeta(1.5, 0.5)}),
            {"linear": alpha_beta_shares(1.5, 0.5), "convolution": positive_shares},
        ),
        "w_square first": (epsilon_plus(first=WSquare()), {FIRST: square_shares}),
    }[which]


CASES = (
    "epsilon_gamma_box",
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
    "gamma everywhere",
    "alpha 1.5, beta 0.5 on linear layers",
    "w_square first",
)
CHOSEN = (
    "vgg_like",
    "resnet_like",
    "densenet_like",
    "grouped",
    "fully_connected_head",
    "convolution_head",
    "signal",
    "volume",
    "forked",
    "smooth",
)


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("which", CASES)
def test_relevance_is_that_of_contributions_written_out(which, name, backend):
    composite = case(which, name)[0]
    found = relevance(backend, NETWORKS[name](), expectations.images(name), composite=composite)
    assert relative(found, slow(name, which)) < 1e-10


@pytest.mark.parametrize("which", CASES)
def test_each_composite_differs_from_the_default(which):
    assert relative(slow("vgg_like", which), expectations.relevances("vgg_like")) > 1e-3


@pytest.mark.parametrize("name", ["vgg_like", "grouped", "densenet_like", "smooth"])
def test_excitation_as_a_composite_is_stabilised(name, backend):
    composite = case("excitation_backprop", name)[0]
    found = relevance(backend, NETWORKS[name](), expectations.images(name), composite=composite, epsilon=1e-14)
    assert relative(found, slow(name, "excitation_backprop")) < 1e-10
    stabilised = relevance(backend, NETWORKS[name](), expectations.images(name), composite=composite, epsilon=0.1)
    assert relative(stabilised, found) > 1e-3


def test_epsilon_is_that_of_every_rule(backend):
    composites = {
        "epsilon_gamma_box": epsilon_gamma_box(*ranges("vgg_like"), epsilon=0.05),
        "epsilon_alpha2_beta1": epsilon_alpha2_beta1(epsilon=0.05),
    }
    for which, composite in composites.items():
        found = relevance(backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), composite=composite)
        assert relative(found, slow("vgg_like", which, 0.05)) < 1e-10
        assert relative(found, slow("vgg_like", which)) > 1e-3


@pytest.mark.parametrize("which", ["epsilon_gamma_box", "epsilon_alpha2_beta1", "gamma everywhere"])
@pytest.mark.parametrize("name", ["vgg_like", "resnet_like"])
def test_contrast_is_the_difference_of_relevances(which, name, backend):
    composite, blueprint = case(which, name)[0], NETWORKS[name]()
    images = expectations.images(name)
    both = relevance(backend, blueprint, images, composite=composite, target=[[2, 1]] * len(images))
    found = relevance(backend, blueprint, images, composite=composite, target=Contrast(2, 1))
    assert relative(found[:, 0], both[:, 0] - both[:, 1]) < 1e-10


@pytest.mark.parametrize("which", CASES)
@pytest.mark.parametrize("name", ["vgg_like", "forked"])
def test_relevance_is_the_derivative_that_it_claims_to_be(which, name, backend):
    composite = case(which, name)[0]
    model = backend.build(NETWORKS[name](), dtype="float64")
    found = explain(
        model, expectations.images(name).astype(float), method="lrp", target=0, composite=composite, verify=True
    )
    assert found.all_passed
    assert found.check("steepest_direction").value < 1e-6


# ---- limits


def test_gamma_zero_is_epsilon_and_alpha_one_is_z_plus(backend):
    blueprint, images = NETWORKS["resnet_like"](), expectations.images("resnet_like")
    base = epsilon_everywhere()
    found = relevance(backend, blueprint, images, composite=base.at("*", Gamma(0)))
    assert relative(found, relevance(backend, blueprint, images, composite=base)) < 1e-12
    found = relevance(backend, blueprint, images, composite=base.at("*", AlphaBeta(1, 0)))
    assert relative(found, relevance(backend, blueprint, images, composite=base.at("*", ZPlus()))) < 1e-12


def test_large_gamma_comes_near_z_plus_where_outputs_are_above_zero(backend):
    blueprint = network(
        pointwise("conv", "input", [[2, -1]]), plain("flat", "flatten", "conv"), dense("head", "flat", [[1]])
    )
    composite = epsilon_everywhere(epsilon=1e-12).at("*", Gamma(1e9, 1e-12))
    assert_allclose(relevance(backend, blueprint, pixel(1, 1), composite=composite).ravel(), [1, 0], atol=1e-8)


# ---- on paper


def single(weight, bias=None):
    return network(
        pointwise("conv", "input", [weight], bias), plain("flat", "flatten", "conv"), dense("head", "flat", [[1]])
    )


@pytest.mark.parametrize(
    ("pixels", "weight", "bias", "expected"),
    [
        # z = 3 - 1 = 2, with gamma 1: 6 and -1 of 5
        ((3, 1), (1, -1), None, (2 * 6 / 5, 2 * -1 / 5)),
        # a bias of 1 above zero counts twice as well: 6, -1 and 2 of 7, and z = 3
        ((3, 1), (1, -1), [1], (3 * 6 / 7, 3 * -1 / 7)),
        # z = 1 - 3 = -2: negative contributions count twice, 1 and -6 of -5
        ((1, 3), (1, -1), None, (-2 * 1 / -5, -2 * -6 / -5)),
        # both pixels below zero: contributions 3 and -1 again
        ((-3, -1), (-1, 1), None, (2 * 6 / 5, 2 * -1 / 5)),
    ],
)
def test_gamma_of_one_on_paper(pixels, weight, bias, expected, backend):
    composite = epsilon_everywhere(epsilon=1e-13).at("conv", Gamma(1, 1e-13))
    found = relevance(backend, single(weight, bias), pixel(*pixels), composite=composite)
    assert_allclose(found.ravel(), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("pixels", "weight", "bias", "expected"),
    [
        # z = 3 + 1 - 2 = 2: 2 R to 3 : 1, -1 R to the only negative one
        ((3, 1, 2), (1, 1, -1), None, (2 * 2 * 3 / 4, 2 * 2 * 1 / 4, -2)),
        # a bias of 4 takes half of the positive side, and z = 6
        ((3, 1, 2), (1, 1, -1), [4], (6 * 2 * 3 / 8, 6 * 2 * 1 / 8, -6)),
        # a bias of -1 takes a third of the negative side, and z = 1
        ((3, 1, 2), (1, 1, -1), [-1], (2 * 3 / 4, 2 * 1 / 4, -2 / 3)),
        # only positive contributions: twice the relevance arrives
        ((3, 1, 0), (1, 1, -1), None, (2 * 3, 2 * 1, 0)),
    ],
)
def test_alpha_two_beta_one_on_paper(pixels, weight, bias, expected, backend):
    composite = epsilon_everywhere(epsilon=1e-13).at("conv", AlphaBeta(2, 1, 1e-13))
    blueprint = replace(single(weight, bias), input_shape=(3, 1, 1))
    found = relevance(backend, blueprint, pixel(*pixels), composite=composite)
    assert_allclose(found.ravel(), expected, atol=1e-9)


def test_z_box_by_channel_on_paper(backend):
    # (1 - -1) 2 = 4 above the lower end of the first channel, (1 - 4) (-1) = 3 below the upper end of the second
    composite = epsilon_plus(epsilon=1e-13, first=ZBox((-1, -9), (9, 4), 1e-13))
    found = relevance(backend, single((2, -1)), pixel(1, 1), composite=composite)
    assert_allclose(found.ravel(), [4 / 7, 3 / 7], atol=1e-9)


def test_z_box_takes_arrays_and_one_number_for_all_channels(backend):
    blueprint, images = NETWORKS["vgg_like"](), expectations.images("vgg_like")
    first = relevance(backend, blueprint, images, composite=epsilon_gamma_box(-6, np.array([6.0, 6.0, 6.0])))
    second = relevance(backend, blueprint, images, composite=epsilon_gamma_box(np.float32(-6), 6.0))
    assert relative(first, second) < 1e-12
    assert ZBox([1, 2], [3, 4]) == ZBox((1.0, 2.0), (3.0, 4.0))
    assert hash(ZBox([1, 2], [3, 4])) == hash(ZBox((1.0, 2.0), (3.0, 4.0)))


# ---- transformers


@pytest.mark.parametrize("composite", sorted(set(COMPOSITES) - {"excitation_backprop"}))
def test_composites_explain_a_transformer_and_are_verified(composite, backend):
    model = transformer.MODELS[backend.name](transformer.weights(), fused=True)
    images = np.random.default_rng(7).normal(size=(1, 2, 6, 4))
    found = explain(model, images, method="lrp", target=0, composite=composite, verify=True)
    assert found.all_passed
    assert np.abs(found.attribution).max() > 0


def test_gamma_on_every_layer_of_a_transformer_is_verified(backend):
    model = transformer.MODELS[backend.name](transformer.weights(), fused=True)
    images = np.random.default_rng(7).normal(size=(1, 2, 6, 4))
    composite = epsilon_plus(first=ZBox(-9, 9)).at("*", Gamma(0.1))
    assert explain(model, images, method="lrp", target=0, composite=composite, verify=True).all_passed


def test_excitation_has_no_rule_for_attention(backend):
    model = transformer.MODELS[backend.name](transformer.weights(), fused=True)
    images = np.random.default_rng(7).normal(size=(1, 2, 6, 4))
    with pytest.raises(UnsupportedOperationError, match="'excitation_backprop' have none for"):
        explain(model, images, method="lrp", target=0, composite="excitation_backprop")


# ---- what is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gamma(-0.1), "gamma must be a number of at least 0, got -0.1"),
        (lambda: Gamma(np.inf), "gamma must be a number of at least 0, got inf"),
        (lambda: Gamma(np.nan), "gamma must be a number of at least 0, got nan"),
        (lambda: AlphaBeta(2, 0.5), r"alpha - beta must be 1 and beta at least 0, got alpha=2, beta=0\.5"),
        (lambda: AlphaBeta(0.5, -0.5), "alpha - beta must be 1 and beta at least 0"),
        (lambda: AlphaBeta(np.inf, np.inf), "alpha - beta must be 1"),
        (lambda: ZBox(1, 0), "low and high must be finite numbers, or one for each channel, low below high; got 1 and"),
        (lambda: ZBox((0, 0), (1, 0)), "low below high"),
        (lambda: ZBox((0, 0), (1, 1, 1)), "one for each channel"),
        (lambda: ZBox([[0]], [[1]]), "one for each channel"),
        (lambda: ZBox(-np.inf, 1), "must be finite numbers"),
    ],
)
def test_impossible_settings_of_rules_are_refused(make, message):
    with pytest.raises(SettingError, match=message):
        make()


def test_pixels_outside_of_the_box_are_refused(backend):
    with pytest.raises(SettingError, match=r"range of z_box\(0, 1, 1e-06\); they reach from -2 to 1, up to 2 outside"):
        relevance(backend, single((2, -1)), pixel(1, -2), composite=epsilon_gamma_box(0, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pixels_at_the_ends_of_a_normalised_range_are_not_outside(dtype, backend):
    mean, std = np.array([0.485, 0.456]), np.array([0.229, 0.224])
    images = (np.array([0.0, 1.0], dtype) - mean.astype(dtype)) / std.astype(dtype)
    model = backend.build(single((2, -1)), dtype=dtype)
    composite = epsilon_gamma_box((0 - mean) / std, (1 - mean) / std)
    assert explain(model, images.reshape(1, 2, 1, 1), method="lrp", target=0, composite=composite).scores.size == 1


def test_a_box_of_other_channels_is_refused(backend):
    with pytest.raises(SettingError, match="is the range of 3 channels, the images have 2"):
        relevance(backend, single((2, -1)), pixel(1, 1), composite=epsilon_gamma_box((0, 0, 0), (2, 2, 2)))


def test_gamma_box_by_name_asks_for_the_range(backend):
    with pytest.raises(SettingError, match=r"needs the range of .*: give .* composite=epsilon_gamma_box\(low, high\)"):
        relevance(backend, single((2, -1)), pixel(1, 1), composite="epsilon_gamma_box")


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        (Gamma(), Kind.ADD),
        (AlphaBeta(), Kind.ADD),
        (ZPlus(), Kind.AVERAGE_POOL),
        (Excitation(), Kind.ADD),
        (ExcitationShare(), Kind.CONVOLUTION),
        (FixedSpread(), Kind.CONVOLUTION),
        (FixedSpread(), Kind.ADD),
        (Epsilon(), Kind.SIGMOID),
        (Share(), Kind.SIGMOID),
        (Product(), Kind.CONVOLUTION),
        (Pass(), Kind.LINEAR),
        (Pass(), Kind.ADD),
        (Flat(), Kind.LINEAR),
        (WSquare(), Kind.CONVOLUTION),
        (ZBox(-9, 9), Kind.ADD),
        (IdentityReLU(), Kind.AVERAGE_POOL),
    ],
)
def test_a_rule_for_a_kind_that_it_is_not_for_is_refused(rule, kind, backend):
    blueprint = network(
        pointwise("same", "input", [[1, 0], [0, 1]]),
        pointwise("other", "same", [[1, 2], [3, 4]]),
        plain("gate", "sigmoid", "other"),
        plain("sum", "add", "gate", "other"),
        plain("pool", "average_pool", "sum", kernel=2),
        plain("flat", "flatten", "pool"),
        dense("head", "flat", [[1, 2]]),
        shape=(2, 2, 2),
    )
    images = np.random.default_rng(3).normal(size=(1, 2, 2, 2))
    pattern = "other" if kind is Kind.CONVOLUTION else "*"
    composite = epsilon_plus().at(pattern, rule, kinds=(kind,))
    with pytest.raises(UnsupportedOperationError, match=r"is not for|does not read the network's input"):
        relevance(backend, blueprint, images, composite=composite)
