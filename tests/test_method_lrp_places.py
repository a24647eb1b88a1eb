"""Rules by the name of a layer and by depth: where they act, what goes before what, and where they would do nothing."""

import re

import expectations
import numpy as np
import pytest
import transformer
from paper_networks import explained

from xai_med import explain
from xai_med.backend.operations import Kind
from xai_med.errors import LayerError, SettingError
from xai_med.rules import AlphaBeta, Epsilon, Flat, Gamma, Pass, Share, ZBox, ZPlus, epsilon_everywhere, epsilon_plus
from xai_med.testing import NETWORKS, oracle
from xai_med.testing.check_backend import relative
from xai_med.testing.oracle_relevance import FIRST
from xai_med.testing.oracle_rules import (
    alpha_beta_shares,
    box_shares,
    epsilon_shares,
    flat_shares,
    gamma_shares,
    positive_shares,
)

NAME = "densenet_like"  # conv0, a1_conv1, a1_conv2, a2_conv1, a2_conv2, t_conv, b1_conv1, b1_conv2, ..., classifier
GAMMA, ALPHA = Gamma(0.5), AlphaBeta()


def slow(rules, name=NAME):
    images = expectations.images(name)
    return oracle.relevance(NETWORKS[name](), images, target=1, rules=rules)


def ask(backend, composite, name=NAME, **asked):
    asked = {"target": 1, **asked}
    return explained(backend, NETWORKS[name](), expectations.images(name), method="lrp", composite=composite, **asked)


def weighted(name=NAME):
    """Names of the steps with weights, in the order of calls."""
    return [step.name for step in NETWORKS[name]().steps if step.operation in ("convolution", "linear")]


def agree(backend, composite, rules, name=NAME):
    assert relative(ask(backend, composite, name).attribution[:, 0], slow(rules, name)) < 1e-10


# ---- by name


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("a1_conv2", ["a1_conv2"]),
        ("a?_conv1", ["a1_conv1", "a2_conv1"]),
        ("*_conv1", ["a1_conv1", "a2_conv1", "b1_conv1"]),
        ("[ab]1_*", ["a1_conv1", "a1_conv2", "b1_conv1", "b1_conv2"]),
        ("classifier", ["classifier"]),
    ],
)
def test_a_rule_acts_in_the_layers_of_a_name_and_nowhere_else(pattern, meant, backend):
    rules = {name: gamma_shares(0.5) for name in meant}
    agree(backend, epsilon_plus().at(pattern, GAMMA), rules)
    assert relative(slow(rules), slow(None)) > 1e-3


def test_capitals_count_in_a_pattern(backend):
    with pytest.raises(LayerError, match="applied to nothing"):
        ask(backend, epsilon_plus().at("CLASSIFIER", GAMMA))


def test_a_later_place_goes_before_an_earlier_one(backend):
    names = weighted()
    rules = dict.fromkeys(names, gamma_shares(0.5)) | {"a1_conv1": alpha_beta_shares(2, 1)}
    agree(backend, epsilon_plus().at("*", GAMMA).at("a1_conv1", ALPHA), rules)


def test_the_rule_of_the_first_layer_goes_before_every_place(backend):
    rules = dict.fromkeys(weighted(), gamma_shares(0.5)) | {FIRST: flat_shares}
    agree(backend, epsilon_plus(first=Flat()).at("*", GAMMA), rules)


def test_other_kinds_than_layers_with_weights_are_named(backend):
    pools = [step.name for step in NETWORKS["grouped"]().steps if step.operation == "average_pool"]
    composite = epsilon_plus().at("*", Share(0.5), kinds=(Kind.AVERAGE_POOL,))
    found = ask(backend, composite, "grouped")
    assert pools == ["pool2"]
    assert relative(found.attribution, ask(backend, epsilon_plus(), "grouped").attribution) > 1e-3
    assert "at '*' (average pool): share(0.5)" in found.rules


def test_a_place_covers_what_has_no_rule_of_its_kind(backend):
    base = epsilon_plus()
    without = type(base)("few", {k: r for k, r in base.rules.items() if k is not Kind.ACTIVATION}, base.passing)
    found = ask(backend, without.at("silu*", Pass(), kinds=(Kind.ACTIVATION,)), "smooth")
    assert relative(found.attribution, ask(backend, base, "smooth").attribution) < 1e-12


def nested_torch():
    layers = pytest.importorskip("torch").nn
    block = layers.Sequential(layers.Conv2d(2, 3, 3), layers.ReLU(), layers.Conv2d(3, 3, 1), layers.ReLU())
    model = layers.Sequential()
    model.add_module("features", layers.Sequential(block, layers.AdaptiveAvgPool2d(1), layers.Flatten()))
    model.add_module("head", layers.Linear(3, 2))
    return model.double().eval()


def nested_paddle():
    layers = pytest.importorskip("paddle").nn
    block = layers.Sequential(layers.Conv2D(2, 3, 3), layers.ReLU(), layers.Conv2D(3, 3, 1), layers.ReLU())
    features = layers.Sequential(block, layers.AdaptiveAvgPool2D(1), layers.Flatten())
    model = layers.Sequential(("features", features), ("head", layers.Linear(3, 2)))
    model.to(dtype="float64")
    model.eval()
    return model


NESTED = {"torch": nested_torch, "paddle": nested_paddle}


@pytest.mark.parametrize(
    ("pattern", "count"), [("features.*", 2), ("features.0.2", 1), ("*", 3), ("head", 1), ("*.0", 1)]
)
def test_dotted_names_are_matched_whole(pattern, count, backend):
    images = np.random.default_rng(5).normal(size=(1, 2, 5, 5))
    composite = epsilon_plus().at(pattern, GAMMA)
    found = explain(NESTED[backend.name](), images, method="lrp", target=0, composite=composite)
    notes = found.check("operations").note
    assert (
        sum(int(times) for times in re.findall(re.escape(f"{GAMMA.name} at {pattern!r} ") + r"(\d+)", notes)) == count
    )


# ---- by depth


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 4), (2, 5), (3, None), (0, None)])
def test_a_rule_acts_on_the_layers_of_some_depths(start, stop, backend):
    rules = dict.fromkeys(weighted()[start:stop], gamma_shares(0.5))
    agree(backend, epsilon_plus().layers(start, stop, GAMMA), rules)


def test_montavon_s_three_zones_and_the_box(backend):
    """Montavon et al. 2019: LRP-0 at the top, epsilon between, gamma below, z-box at the image."""
    names, channels = weighted(), NETWORKS[NAME]().input_shape[0]
    composite = (
        epsilon_everywhere(epsilon=1e-6, first=ZBox(-6, 6))
        .layers(0, 4, Gamma(0.25))
        .layers(4, len(names) - 1, Epsilon(0.25))
        .layers(len(names) - 1, None, Epsilon(0))
    )

    def stabilised(epsilon):
        return lambda layer: epsilon_shares(type(layer)(**{**vars(layer), "epsilon": epsilon}))

    rules = dict.fromkeys(names[:4], gamma_shares(0.25)) | dict.fromkeys(names[4:-1], stabilised(0.25))
    rules |= {names[-1]: stabilised(1e-15), FIRST: box_shares([-6] * channels, [6] * channels)}
    agree(backend, composite, rules)
    assert len(names) > 6


def test_branches_are_counted_in_the_order_of_calls(backend):
    names = weighted("resnet_like")
    rules = {"convolution": epsilon_shares, "linear": epsilon_shares, names[2]: positive_shares}
    agree(backend, epsilon_everywhere().layers(2, 3, ZPlus()), rules, "resnet_like")


def test_places_hold_in_float32_and_are_verified(backend):
    composite = epsilon_plus().layers(0, 2, GAMMA).at("classifier", ALPHA)
    model = backend.build(NETWORKS["vgg_like"]())
    found = explain(
        model,
        expectations.images("vgg_like").astype(np.float32),
        method="lrp",
        target=0,
        composite=composite,
        verify=True,
    )
    assert found.all_passed


# ---- what the result says


def test_the_result_says_which_rule_was_applied_where(backend):
    composite = epsilon_plus(first=Flat()).at("a1_*", GAMMA).layers(5, 6, ALPHA)
    found = ask(backend, composite)
    assert composite.name == ("epsilon_plus + gamma(0.5, 1e-06) at 'a1_*' + alpha_beta(2, 1, 1e-06) at layers 5 to 5")
    assert found.rules[-3:] == (
        "at 'a1_*': gamma(0.5, 1e-06)",
        "at layers 5 to 5: alpha_beta(2, 1, 1e-06)",
        "first layer: flat(1e-06)",
    )
    note = found.check("operations").note
    assert "gamma(0.5, 1e-06) at 'a1_*' 2" in note
    assert "alpha_beta(2, 1, 1e-06) at layers 5 to 5 1" in note
    assert "flat(1e-06) 1" in note


def test_a_composite_is_a_value_that_is_not_changed():
    base = epsilon_plus()
    changed = base.at("conv*", GAMMA)
    assert base.placed == ()
    assert changed == epsilon_plus().at("conv*", Gamma(0.5))
    assert changed.layers(0, None, ALPHA).placed[:1] == changed.placed


# ---- transformers


def test_layers_of_a_transformer_have_their_own_rules(backend):
    model = transformer.MODELS[backend.name](transformer.weights(), fused=True)
    images = np.random.default_rng(7).normal(size=(1, 2, 6, 4))
    plain, placed = (
        explain(model, images, method="lrp", target=0, composite=composite, verify=True)
        for composite in (epsilon_plus(), epsilon_plus().layers(1, 3, GAMMA))
    )
    assert placed.all_passed
    assert relative(placed.attribution, plain.attribution) > 1e-3
    assert "gamma(0.5, 1e-06) at layers 1 to 2 2" in placed.check("operations").note


# ---- what is refused


def test_a_pattern_that_matches_nothing_names_near_layers(backend):
    with pytest.raises(LayerError, match=r"gamma\(0.5, 1e-06\) at 'a1_cnv1' is applied .* there are 'a1_conv1'"):
        ask(backend, epsilon_plus().at("a1_cnv1", GAMMA))


def test_a_pattern_without_operations_of_the_kind_is_refused(backend):
    with pytest.raises(LayerError, match=r"no convolution or linear or transposed convolution .* of such a name"):
        ask(backend, epsilon_plus().at("norm5", GAMMA))


def test_a_place_that_later_ones_take_wholly_is_refused(backend):
    with pytest.raises(LayerError, match=r"at 'a1_conv1' is applied to nothing: .* that of a later place"):
        ask(backend, epsilon_plus().at("a1_conv1", ALPHA).at("a1_*", GAMMA))


def test_a_place_that_only_the_first_layer_has_is_refused(backend):
    with pytest.raises(LayerError, match=r"at 'conv0' is applied to nothing: .* the rule of the first layer"):
        ask(backend, epsilon_plus(first=Flat()).at("conv0", GAMMA))


def test_a_batch_norm_that_is_merged_has_no_rule_of_its_own(backend):
    with pytest.raises(LayerError, match="or is merged with the layer before"):
        ask(backend, epsilon_plus().at("norm0", Pass(), kinds=(Kind.BATCH_NORM,)))


def test_depths_beyond_the_model_are_refused(backend):
    last = len(weighted()) - 1
    with pytest.raises(LayerError, match=f"at layers 99 to the last is applied to nothing: .* layers 0 to {last}"):
        ask(backend, epsilon_plus().layers(99, None, GAMMA))
    with pytest.raises(LayerError, match=f"goes beyond the model: .* layers 0 to {last}; give None for the last"):
        ask(backend, epsilon_plus().layers(2, 99, GAMMA))
    assert ask(backend, epsilon_plus().layers(2, last + 1, GAMMA)).scores.size


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda base: base.at("", GAMMA), r"a place is named by a pattern such as 'features\.\*', got ''"),
        (lambda base: base.at(3, GAMMA), r"named by a pattern such as 'features\.\*', got 3"),
        (lambda base: base.at("*", Gamma), r"a rule is a value such as Gamma\(0.25\), got <class"),
        (lambda base: base.at("*", "gamma"), r"a rule is a value such as Gamma\(0.25\), got 'gamma'"),
        (lambda base: base.at("*", GAMMA, kinds=()), r"at least one Kind, such as \(Kind\.CONVOLUTION,\), got \(\)"),
        (lambda base: base.at("*", GAMMA, kinds=("conv",)), "at least one Kind"),
        (lambda base: base.layers(-3, None, GAMMA), "numbered from 0 at the input, got -3 to None; .* from the end"),
        (lambda base: base.layers(0.0, 3, GAMMA), "numbered from 0"),
        (lambda base: base.layers(True, None, GAMMA), "numbered from 0"),
        (lambda base: base.layers(3, 3, GAMMA), "layers 3 to 3, the last excluded, are none"),
        (lambda base: base.layers(3, -1, GAMMA), "layers 3 to -1, the last excluded, are none"),
        (lambda base: base.layers(0, None, None), "a rule is a value"),
    ],
)
def test_impossible_places_are_refused(make, message):
    with pytest.raises(SettingError, match=message):
        make(epsilon_plus())
