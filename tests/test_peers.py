"""Our numbers beside those of captum, zennit and torchcam: equal where the conventions are, else the difference named.

Conventions were read from the peers' sources: captum 0.9, zennit 0.5.1, torchcam 0.5.
"""

from dataclasses import replace

import numpy as np
import peers
import pytest
from numpy.testing import assert_allclose
from paper_networks import explained

from xai_med import rules
from xai_med.blueprints import Blueprint, Step
from xai_med.registry import get_backend
from xai_med.testing import NETWORKS, example_input, oracle, oracle_relevance
from xai_med.testing.check_backend import relative

AGREEMENT = 1e-5  # of the map's range; float64 throughout, so that what is left is convention
LAYERS = {  # layers that are modules, which is all that hooks can see
    "resnet_like": "b_out",
    "grouped": "relu3",
    "convolution_head": "relu1",
    "signal": "pool2",
    "volume": "pool2",
    "smooth": "silu2",
}
WITHOUT_NORM = ["fully_connected_head", "hidden_layer_head", "max_pool_head", "class_kernels"]
PAIRS = {
    "vgg_like": [("conv1", "norm1")],
    "grouped": [("conv3", "norm3")],
    "signal": [("conv1", "norm1")],
    "densenet_like": [
        ("conv0", "norm0"),
        ("a1_conv1", "a1_norm2"),
        ("a2_conv1", "a2_norm2"),
        ("b1_conv1", "b1_norm2"),
    ],
}


@pytest.fixture
def torch_backend():
    pytest.importorskip("torch", reason="torch is not installed")
    return get_backend("torch")


@pytest.fixture
def zennit():
    try:
        return peers.zennit()
    except ModuleNotFoundError:
        pytest.skip("zennit is not installed")


@pytest.fixture
def captum():
    return pytest.importorskip("captum", reason="captum is not installed")


@pytest.fixture
def torchcam():
    return pytest.importorskip("torchcam", reason="torchcam is not installed")


def prepared(torch_backend, blueprint):
    images = example_input(blueprint, 3).astype(np.float64)
    return torch_backend.build(blueprint, dtype="float64"), images


def without_norm_epsilon(blueprint):
    """Zennit 0.5.1 leaves the epsilon in the batch norm that it has merged, which then divides once more."""
    return replace(
        blueprint,
        steps=tuple(
            replace(step, options={**step.options, "epsilon": 0.0}) if step.operation == "batch_norm" else step
            for step in blueprint.steps
        ),
    )


def with_pool_module(blueprint):
    """Zennit gives its rule to pooling modules; a mean written as a function keeps its gradient there."""
    pool = next(step for step in blueprint.steps if step.operation == "global_average_pool")
    position = blueprint.steps.index(pool)
    steps = list(blueprint.steps)
    steps[position : position + 1] = [
        Step("pooled", "global_average_pool", pool.inputs, options={"style": "module"}),
        Step(pool.name, "flatten", ("pooled",)),
    ]
    return Blueprint(blueprint.name, blueprint.input_shape, tuple(steps))


# ---- gradient


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"sigmoid_output", "softmax_output"}))
def test_captum_saliency_is_the_magnitude_of_our_gradient(name, torch_backend, captum):
    blueprint = NETWORKS[name]()
    model, images = prepared(torch_backend, blueprint)
    found = explained(torch_backend, blueprint, images, method="gradient").attribution
    assert relative(np.abs(found), peers.captum_saliency(model, images, found.shape[1])) <= AGREEMENT


def test_captum_explains_the_probability_where_we_explain_the_logit(torch_backend, captum):
    blueprint = NETWORKS["sigmoid_output"]()
    model, images = prepared(torch_backend, blueprint)
    found = explained(torch_backend, blueprint, images, method="gradient")
    slope = found.probabilities * (1 - found.probabilities)
    theirs = peers.captum_saliency(model, images, 3)
    assert relative(slope[:, :, None, None, None] * np.abs(found.attribution), theirs) <= AGREEMENT
    assert relative(np.abs(found.attribution), theirs) > 1e-2


# ---- Grad-CAM and CAM


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_captum_layer_grad_cam_is_ours_without_relu(name, torch_backend, captum):
    blueprint = NETWORKS[name]()
    model, images = prepared(torch_backend, blueprint)
    found = explained(torch_backend, blueprint, images, method="grad_cam", relu=False)
    assert found.layer == LAYERS[name]
    theirs = peers.captum_layer_grad_cam(model, LAYERS[name], images, found.attribution.shape[1])
    assert relative(found.attribution, theirs) <= AGREEMENT
    assert theirs.min() < 0  # captum keeps negative evidence by default


@pytest.mark.parametrize("layer", ["conv1", "pool1", "conv2"])
def test_captum_layer_grad_cam_at_named_layers(layer, torch_backend, captum):
    blueprint = NETWORKS["vgg_like"]()
    model, images = prepared(torch_backend, blueprint)
    found = explained(torch_backend, blueprint, images, method="grad_cam", relu=False, layer=layer)
    assert relative(found.attribution, peers.captum_layer_grad_cam(model, layer, images, 3)) <= AGREEMENT


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_torchcam_cam_without_its_normalisation_is_ours(name, torch_backend, torchcam):
    blueprint = NETWORKS[name]()
    model, images = prepared(torch_backend, blueprint)
    found = explained(torch_backend, blueprint, images, method="cam").attribution
    assert relative(found, peers.torchcam_cam(model, LAYERS[name], "classifier", images, found.shape[1])) <= AGREEMENT


def test_torchcam_at_a_batch_norm_sees_features_before_the_relu(torch_backend, torchcam):
    """As with torchvision's DenseNet: the map's mean is then not the logit. We take what enters the pool."""
    blueprint = NETWORKS["densenet_like"]()
    blueprint = replace(
        blueprint, steps=tuple(s if s.name != "classifier" else _without_bias(s) for s in blueprint.steps)
    )
    model, images = prepared(torch_backend, blueprint)
    found = explained(torch_backend, blueprint, images, method="cam")
    theirs = peers.torchcam_cam(model, "norm5", "classifier", images, 4)
    assert_allclose(found.attribution.mean(axis=(2, 3)), found.scores, atol=1e-12)
    assert np.abs(theirs.mean(axis=(2, 3)) - found.scores).max() > 0.1


def _without_bias(step):
    return replace(step, arrays={"weight": step.arrays["weight"]})


# ---- LRP


@pytest.mark.parametrize("name", [*WITHOUT_NORM, "convolution_head", "smooth"])
def test_zennit_epsilon_plus_is_ours_without_batch_norm(name, torch_backend, zennit):
    blueprint = NETWORKS[name]()
    model, images = prepared(torch_backend, blueprint)
    found = explained(torch_backend, blueprint, images, method="lrp").attribution
    assert relative(found, peers.zennit_epsilon_plus(model, images, found.shape[1])) <= AGREEMENT


@pytest.mark.parametrize("name", ["vgg_like", "grouped", "signal"])
def test_zennit_epsilon_plus_is_ours_with_merged_batch_norm(name, torch_backend, zennit):
    blueprint = without_norm_epsilon(NETWORKS[name]())
    model, images = prepared(torch_backend, blueprint)
    found = explained(torch_backend, blueprint, images, method="lrp").attribution
    theirs = peers.zennit_epsilon_plus(model, images, 3, (peers.merged(*PAIRS[name]),))
    assert relative(found, theirs) <= AGREEMENT


def test_zennit_divides_by_the_epsilon_of_a_merged_batch_norm_again(torch_backend, zennit):
    """Values behind the merged norm shrink by sqrt(1 + epsilon), here 2^-10; with the usual 1e-5 it is 5e-6."""
    blueprint = NETWORKS["vgg_like"]()
    model, images = prepared(torch_backend, blueprint)
    found = explained(torch_backend, blueprint, images, method="lrp").attribution
    theirs = peers.zennit_epsilon_plus(model, images, 3, (peers.merged(*PAIRS["vgg_like"]),))
    assert 1e-5 < relative(found, theirs) < 1e-3


def ranges(blueprint):
    """A different range for each channel, ours and zennit's."""
    import torch

    channels, space = blueprint.input_shape[0], len(blueprint.input_shape) - 1
    low, high = -6 - np.arange(channels), 7 - 0.5 * np.arange(channels)
    return (low, high), tuple(torch.tensor(end).double().reshape(1, -1, *(1,) * space) for end in (low, high))


@pytest.mark.parametrize("name", [*WITHOUT_NORM, "convolution_head", "smooth", "vgg_like", "grouped", "signal"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("epsilon_gamma_box", "EpsilonGammaBox"),
        ("epsilon_alpha2_beta1", "EpsilonAlpha2Beta1"),
        ("epsilon_alpha2_beta1_flat", "EpsilonAlpha2Beta1Flat"),
    ],
)
def test_zennit_composites_are_ours(ours, theirs, name, torch_backend, zennit):
    blueprint = without_norm_epsilon(NETWORKS[name]())
    model, images = prepared(torch_backend, blueprint)
    settings = {"canonizers": [peers.merged(*PAIRS[name])] if name in PAIRS else []}
    composite = ours
    if ours == "epsilon_gamma_box":
        own, (low, high) = ranges(blueprint)
        composite, settings = rules.epsilon_gamma_box(*own), {**settings, "low": low, "high": high}
    found = explained(torch_backend, blueprint, images, method="lrp", composite=composite).attribution
    assert relative(found, peers.zennit_composite(theirs, model, images, found.shape[1], **settings)) <= AGREEMENT


@pytest.mark.parametrize("name", [*WITHOUT_NORM, "convolution_head", "vgg_like", "grouped", "signal"])
def test_zennit_excitation_backprop_without_biases_is_ours_times_the_logit(name, torch_backend, zennit):
    blueprint = without_norm_epsilon(NETWORKS[name]())
    model, images = prepared(torch_backend, blueprint)
    settings = {"stabilizer": 1e-12, "canonizers": [peers.merged(*PAIRS[name])] if name in PAIRS else []}
    found = explained(torch_backend, blueprint, images, method="excitation_backprop")
    ours = found.attribution * found.scores.reshape(*found.scores.shape, *(1,) * (found.attribution.ndim - 2))
    if name == "class_kernels":  # its pool reads values below zero, which then have negative shares there
        theirs = peers.zennit_composite("ExcitationBackprop", model, images, 4, zero_params="bias", **settings)
        assert relative(ours, theirs) > 1e-2
        return
    theirs = peers.zennit_composite(
        "ExcitationBackprop", model, images, found.scores.shape[1], zero_params="bias", **settings
    )
    assert relative(ours, theirs) <= AGREEMENT


def test_zennit_excitation_backprop_gives_biases_a_share(torch_backend, zennit):
    """The paper's neurons have none: what a bias adds is no neuron that could win."""
    blueprint = NETWORKS["hidden_layer_head"]()
    model, images = prepared(torch_backend, blueprint)
    found = explained(torch_backend, blueprint, images, method="excitation_backprop")
    theirs = peers.zennit_composite("ExcitationBackprop", model, images, 3, stabilizer=1e-12)
    assert relative(found.attribution * found.scores[..., None, None, None], theirs) > 1e-2


def test_zennit_w_square_gives_the_squared_bias_a_share(torch_backend, zennit):
    """Its denominator holds the squared bias, which the rule of the paper does not know."""
    blueprint = NETWORKS["max_pool_head"]()
    without = replace(
        blueprint, steps=tuple(_without_bias(s) if s.operation == "convolution" else s for s in blueprint.steps)
    )
    differences = []
    for each in (blueprint, without):
        model, images = prepared(torch_backend, each)
        composite = rules.epsilon_plus(first=rules.WSquare())
        found = explained(torch_backend, each, images, method="lrp", composite=composite).attribution
        differences.append(relative(found, peers.zennit_first(model, images, 3, "WSquare")))
    assert differences[0] > 1e-2
    assert differences[1] <= AGREEMENT


@pytest.mark.parametrize(
    ("rule", "theirs"), [(rules.Gamma(0.5, 1e-12), ("GammaRule", 0.5)), (rules.ZPlus(1e-12), ("Alpha1_Beta0_Rule",))]
)
def test_captum_rules_are_ours_without_biases_where_nothing_is_below_zero(rule, theirs, torch_backend, captum):
    blueprint = NETWORKS["fully_connected_head"]()
    steps = tuple(_without_bias(s) if "bias" in s.arrays else s for s in blueprint.steps)
    model, images = prepared(torch_backend, replace(blueprint, steps=steps))
    images = np.abs(images)
    composite = rules.epsilon_everywhere(epsilon=1e-12).at("conv1", rule).at("hidden", rule)
    found = explained(torch_backend, replace(blueprint, steps=steps), images, method="lrp", composite=composite)
    chosen = {name: peers.captum_rule(*theirs) for name in ("conv1", "hidden")}
    assert relative(found.attribution, peers.captum_lrp(model, images, 3, chosen)) <= AGREEMENT


def test_zennit_without_canonizer_passes_where_we_merge(torch_backend, zennit):
    blueprint = NETWORKS["vgg_like"]()
    model, images = prepared(torch_backend, blueprint)
    found = explained(torch_backend, blueprint, images, method="lrp").attribution
    assert relative(found, peers.zennit_epsilon_plus(model, images, 3)) > 0.1


def test_zennit_doubles_relevance_at_each_addition_written_as_an_operator(torch_backend, zennit):
    blueprint = NETWORKS["bias_free_resnet"]()
    model, images = prepared(torch_backend, blueprint)
    found = explained(torch_backend, blueprint, images, method="lrp")
    theirs = peers.zennit_epsilon_plus(model, images, 4)
    assert_allclose(theirs.sum(axis=(2, 3, 4)) / found.scores, 4, rtol=1e-3)  # two blocks: 2 x 2
    assert_allclose(found.attribution.sum(axis=(2, 3, 4)) / found.scores, 1, rtol=1e-3)


def test_zennit_keeps_the_gradient_of_a_mean_written_as_a_function(torch_backend, zennit):
    blueprint = NETWORKS["volume"]()
    pairs = (peers.merged(("conv1", "norm1")),)
    differences = []
    for each in (without_norm_epsilon(blueprint), without_norm_epsilon(with_pool_module(blueprint))):
        model, images = prepared(torch_backend, each)
        found = explained(torch_backend, each, images, method="lrp").attribution
        differences.append(relative(found, peers.zennit_epsilon_plus(model, images, 3, pairs)))
    assert differences[0] > 1e-2
    assert differences[1] <= AGREEMENT


def test_zennit_on_a_densenet_is_ours_but_for_units_that_are_off(torch_backend, zennit, monkeypatch):
    """Where batch norm and ReLU pass relevance on, zennit gives it also to inputs of zero; we count that as lost."""
    blueprint = without_norm_epsilon(with_pool_module(NETWORKS["densenet_like"]()))
    model, images = prepared(torch_backend, blueprint)
    found = explained(torch_backend, blueprint, images, method="lrp").attribution
    theirs = peers.zennit_epsilon_plus(model, images, 4, (peers.merged(*PAIRS["densenet_like"]),))
    assert relative(found, theirs) > 1e-2
    shares = oracle_relevance._shares

    def as_zennit(step, values, incoming, epsilon):
        is_hooked = step.operation == "batch_norm" or step.options.get("style") == "in_place"
        return (incoming,) if is_hooked else shares(step, values, incoming, epsilon)

    monkeypatch.setattr(oracle_relevance, "_shares", as_zennit)
    expected = np.stack([oracle.relevance(blueprint, images, target=k) for k in range(4)], axis=1)
    assert relative(expected, theirs) <= AGREEMENT


def test_captum_lrp_differs_by_its_rule_for_batch_norm(torch_backend, captum):
    """Captum's epsilon rule on a lone batch norm is not conservative; ours merges or passes."""
    blueprint = NETWORKS["bias_free_densenet"]()
    model, images = prepared(torch_backend, blueprint)
    found = explained(torch_backend, blueprint, images, method="lrp", composite="epsilon")
    theirs = peers.captum_lrp(model, images, 4)
    assert_allclose(found.attribution.sum(axis=(2, 3, 4)) / found.scores, 1, rtol=1e-3)
    assert np.abs(theirs.sum(axis=(2, 3, 4)) / found.scores - 1).max() > 0.03
