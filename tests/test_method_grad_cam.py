"""Grad-CAM against the oracle at every layer, its relation to CAM, and the worked example."""

import expectations
import numpy as np
import pytest
from numpy.testing import assert_allclose
from paper_networks import dense, explained, network, pixel, pointwise, pooled

from xai_med import Probability, explain
from xai_med.errors import LayerError, SettingError
from xai_med.testing import NETWORKS, example_input
from xai_med.testing.check_backend import relative
from xai_med.testing.network_layers import plain

DEFAULT_LAYERS = {
    "vgg_like": "relu2",
    "resnet_like": "b_out",
    "densenet_like": "relu5",
    "grouped": "relu3",
    "fully_connected_head": "pool1",
    "hidden_layer_head": "relu1",
    "max_pool_head": "relu1",
    "convolution_head": "relu1",
    "class_kernels": "classes",
    "signal": "pool2",
    "volume": "pool2",
    "single_logit": "relu1",
    "sigmoid_output": "relu2",
    "softmax_output": "relu2",
    "bias_free_resnet": "b_out",
    "bias_free_densenet": "relu5",
    "forked": "relu2",
    "smooth": "silu2",
}
NAMED_LAYERS = [
    ("vgg_like", "conv1"),
    ("vgg_like", "norm1"),
    ("vgg_like", "relu1"),
    ("vgg_like", "pool1"),
    ("vgg_like", "conv2"),
    ("resnet_like", "norm1"),  # a ReLU writes into its output
    ("resnet_like", "a_norm2"),  # the addition writes into its output
    ("resnet_like", "b_down_norm"),
    ("densenet_like", "a1_norm1"),
    ("densenet_like", "t_conv"),
    ("densenet_like", "t_pool"),  # read by two concatenations
    ("forked", "conv1"),  # read by a batch norm and an addition
    ("densenet_like", "norm5"),
    ("grouped", "pool2"),
    ("grouped", "conv3"),
    ("signal", "pool1"),
    ("volume", "norm1"),
]
ACTIVATIONS = np.array([[[[1, 0.5], [0, 2]], [[0, 1], [1, 0]]]])  # METHODS 3
GRADIENTS = [[[2, -2], [-2, 2]], [[1, 1], [1, 1]]]


def flattened(weight):
    """The input as features, flattened into one linear layer."""
    return network(
        pointwise("features", "input", np.eye(2)),
        plain("flat", "flatten", "features"),
        dense("head", "flat", np.reshape(weight, (1, -1))),
        shape=(2, 2, 2),
    )


def test_every_network_has_an_expected_layer():
    assert set(DEFAULT_LAYERS) == set(NETWORKS)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_default_layer_is_what_enters_the_pool_or_the_last_with_space(name, backend):
    blueprint = NETWORKS[name]()
    found = explained(backend, blueprint, expectations.images(name), method="grad_cam", relu=False)
    assert relative(found.attribution, expectations.grad_cam(name, DEFAULT_LAYERS[name], relu=False)) < 1e-12
    assert found.maps.shape == (*found.scores.shape, *blueprint.input_shape[1:])


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_only_positive_evidence_is_kept(name, backend):
    found = explained(backend, NETWORKS[name](), expectations.images(name), method="grad_cam")
    expected = expectations.grad_cam(name, DEFAULT_LAYERS[name], relu=True)
    assert_allclose(found.attribution, expected, rtol=0, atol=1e-12 * np.ptp(expected))
    assert (expected > 0).any()


@pytest.mark.parametrize(("name", "layer"), NAMED_LAYERS)
def test_any_layer_may_be_named(name, layer, backend):
    images = expectations.images(name)
    found = explained(backend, NETWORKS[name](), images, method="grad_cam", layer=layer, relu=False)
    assert relative(found.attribution, expectations.grad_cam(name, layer, relu=False)) < 1e-12
    assert found.layer == layer


def test_layer_may_be_given_as_a_module(backend):
    blueprint = NETWORKS["vgg_like"]()
    model = backend.build(blueprint, dtype="float64")
    module, name = backend.network(model).find_layer("pool1")
    images = example_input(blueprint).astype(np.float64)
    by_module, by_name = (explain(model, images, method="grad_cam", layer=layer) for layer in (module, name))
    assert by_module.layer == "pool1"
    assert_allclose(by_module.attribution, by_name.attribution, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["vgg_like", "resnet_like", "densenet_like", "convolution_head", "signal", "volume"])
def test_behind_a_global_pool_it_is_the_positive_class_map_over_the_number_of_cells(name, backend):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    cam = explained(backend, blueprint, images, method="cam").attribution
    found = explained(backend, blueprint, images, method="grad_cam").attribution
    assert_allclose(found, np.maximum(cam, 0) / cam[0, 0].size, rtol=0, atol=1e-13)


def test_worked_example_gradient_averaging_erases_evidence(backend):
    found = explained(backend, flattened(GRADIENTS), ACTIVATIONS, method="grad_cam", layer="features")
    assert_allclose(found.scores, [[7]], atol=1e-12)
    assert_allclose(found.attribution[0, 0], [[0, 1], [1, 0]], atol=1e-12)


def test_class_without_positive_evidence_has_a_zero_map_and_is_counted(backend):
    found = explained(backend, pooled([[1], [-1]], (1, 2, 2)), np.ones((1, 1, 2, 2)), method="grad_cam")
    assert (found.attribution[0, 0] > 0).all()
    assert (found.attribution[0, 1] == 0).all()
    assert {check.name: check.value for check in found.checks}["maps without positive evidence"] == 1


def test_without_relu_negative_evidence_is_seen(backend):
    found = explained(backend, pooled([[-1]], (1, 2, 2)), np.ones((1, 1, 2, 2)), method="grad_cam", relu=False)
    assert_allclose(found.attribution, np.full((1, 1, 2, 2), -0.25), atol=1e-14)
    assert found.settings["relu"] is False


def test_saturated_probability_scales_the_map(backend):
    """The sigmoid's slope is p (1 - p): METHODS 0."""
    blueprint = NETWORKS["sigmoid_output"]()
    images = example_input(blueprint)
    logit = explained(backend, blueprint, images, method="grad_cam", target=1, relu=False)
    probability = explained(backend, blueprint, images, method="grad_cam", target=Probability(1), relu=False)
    share = logit.probabilities * (1 - logit.probabilities)
    assert_allclose(probability.attribution, share[:, :, None, None] * logit.attribution, rtol=0, atol=1e-14)


def test_unknown_layer_is_refused_with_near_names(backend):
    blueprint = NETWORKS["resnet_like"]()
    with pytest.raises(LayerError, match="the model has no layer 'b_dawn'; did you mean 'b_down'"):
        explained(backend, blueprint, example_input(blueprint), method="grad_cam", layer="b_dawn")


def test_layer_behind_the_pool_is_refused(backend):
    blueprint = NETWORKS["vgg_like"]()
    with pytest.raises(LayerError, match="space"):
        explained(backend, blueprint, example_input(blueprint), method="grad_cam", layer="classifier")


def test_network_without_space_axes_is_refused(backend):
    blueprint = network(plain("flat", "flatten", "input"), dense("head", "flat", [[1, 2]]))
    with pytest.raises(LayerError, match="no tensor with the image's space axes"):
        explained(backend, blueprint, pixel(1, 2), method="grad_cam")


def test_unknown_setting_is_refused(backend):
    blueprint = NETWORKS["vgg_like"]()
    with pytest.raises(SettingError, match="method 'grad_cam' has no setting 'epsilon'; it has relu"):
        explained(backend, blueprint, example_input(blueprint), method="grad_cam", epsilon=1)


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_the_mean_over_channels_is_the_map_over_their_number(layer, backend):
    images = expectations.images("vgg_like")
    summed, meant = (
        explained(backend, NETWORKS["vgg_like"](), images, method="grad_cam", layer=layer, over_channels=how)
        for how in ("sum", "mean")
    )
    channels = {"conv1": 4, "conv2": 5}[layer]
    np.testing.assert_allclose(meant.attribution, summed.attribution / channels, rtol=1e-12)
    with pytest.raises(SettingError, match="sum, mean"):
        explained(backend, NETWORKS["vgg_like"](), images, method="grad_cam", over_channels="max")
