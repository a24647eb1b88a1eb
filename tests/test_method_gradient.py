"""Gradient saliency against hand-written adjoints; every read-out."""

import expectations
import numpy as np
import pytest
from numpy.testing import assert_allclose
from paper_networks import dense, explained, network, pixel

from xai_med import Probability
from xai_med.errors import SettingError
from xai_med.testing import NETWORKS, example_input, oracle
from xai_med.testing.check_backend import relative
from xai_med.testing.network_layers import plain

READ_OUTS = {
    "max_abs": lambda gradient: np.abs(gradient).max(axis=2),
    "abs_sum": lambda gradient: np.abs(gradient).sum(axis=2),
    "l2": lambda gradient: np.sqrt((gradient**2).sum(axis=2)),
    "signed_sum": lambda gradient: gradient.sum(axis=2),
}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_gradient_of_every_logit(name, backend):
    found = explained(backend, NETWORKS[name](), expectations.images(name), method="gradient")
    assert relative(found.attribution, expectations.gradients(name)) < 1e-12
    assert found.maps.shape == (*found.scores.shape, *NETWORKS[name]().input_shape[1:])


@pytest.mark.parametrize("read_out", sorted(READ_OUTS))
@pytest.mark.parametrize("name", ["vgg_like", "signal", "volume"])
def test_read_out_of_channels(name, read_out, backend):
    found = explained(backend, NETWORKS[name](), expectations.images(name), method="gradient", read_out=read_out)
    expected = READ_OUTS[read_out](expectations.gradients(name))
    assert_allclose(found.maps, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    assert found.settings["read_out"] == read_out


@pytest.mark.parametrize(
    ("read_out", "expected"), [("max_abs", 0.7), ("abs_sum", 1.4), ("l2", 0.8831761), ("signed_sum", 0.0)]
)
def test_worked_example_of_channel_pooling(read_out, expected, backend):
    blueprint = network(plain("flat", "flatten", "input"), dense("head", "flat", [[0.2, -0.7, 0.5]]), shape=(3, 1, 1))
    found = explained(backend, blueprint, pixel(1, 1, 1), method="gradient", read_out=read_out)
    assert_allclose(found.maps.item(), expected, atol=1e-6)


def test_largest_magnitude_is_the_default(backend):
    found = explained(backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method="gradient")
    assert_allclose(found.maps, np.abs(found.attribution).max(axis=2), rtol=1e-6)


def test_predicted_class_is_the_default_target(backend):
    found = explained(backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method="gradient", target=None)
    logits = expectations.logits("vgg_like")
    assert found.class_indices[:, 0].tolist() == logits.argmax(axis=1).tolist()
    chosen = expectations.gradients("vgg_like")[np.arange(len(logits)), logits.argmax(axis=1)]
    assert relative(found.attribution[:, 0], chosen) < 1e-12


@pytest.mark.parametrize("name", ["sigmoid_output", "softmax_output"])
def test_final_activation_is_looked_through(name, backend):
    found = explained(backend, NETWORKS[name](), expectations.images("vgg_like"), method="gradient")
    assert relative(found.attribution, expectations.gradients("vgg_like")) < 1e-12


def test_gradient_of_a_sigmoid_probability_is_p_times_one_minus_p_times_that_of_the_logit(backend):
    images = expectations.images("sigmoid_output")
    found = explained(backend, NETWORKS["sigmoid_output"](), images, method="gradient", target=Probability(0, 2))
    p = expectations.values("sigmoid_output")["ending"][:, [0, 2], None, None, None]
    expected = p * (1 - p) * expectations.gradients("sigmoid_output")[:, [0, 2]]
    assert relative(found.attribution, expected) < 1e-12


def test_gradient_of_a_softmax_probability_mixes_classes(backend):
    blueprint = NETWORKS["softmax_output"]()
    images = example_input(blueprint)
    found = explained(backend, blueprint, images, method="gradient", target=Probability(1))
    p = oracle.forward(blueprint, images)["ending"]
    cotangent = p[:, [1]] * (np.eye(3)[1] - p)
    expected = oracle.vector_jacobian(blueprint, images, of="classifier", cotangent=cotangent)
    assert relative(found.attribution[:, 0], expected) < 1e-12


def test_unknown_read_out_is_refused(backend):
    blueprint = NETWORKS["vgg_like"]()
    with pytest.raises(SettingError, match="read_out='mean' is unknown; choose one of max_abs, abs_sum"):
        explained(backend, blueprint, example_input(blueprint), method="gradient", read_out="mean")


def test_layer_is_refused(backend):
    blueprint = NETWORKS["vgg_like"]()
    with pytest.raises(SettingError, match="gradient is taken at the input and has no layer; remove layer="):
        explained(backend, blueprint, example_input(blueprint), method="gradient", layer="pool1")
