"""Gradient saliency against hand-written adjoints; every read-out."""

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


def expected_gradient(blueprint, images):
    start = oracle.logits_step(blueprint)
    shape = oracle.forward(blueprint, images)[start].shape
    columns = [
        oracle.vector_jacobian(blueprint, images, of=start, cotangent=np.broadcast_to(row, shape))
        for row in np.eye(shape[1])
    ]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_gradient_of_every_logit(name, backend):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint, 3)
    found = explained(backend, blueprint, images, method="gradient")
    assert relative(found.attribution, expected_gradient(blueprint, images)) < 1e-12
    assert found.maps.shape == (*found.scores.shape, *blueprint.input_shape[1:])


@pytest.mark.parametrize("read_out", sorted(READ_OUTS))
@pytest.mark.parametrize("name", ["vgg_like", "signal", "volume"])
def test_read_out_of_channels(name, read_out, backend):
    blueprint = NETWORKS[name]()
    images = example_input(blueprint)
    found = explained(backend, blueprint, images, method="gradient", read_out=read_out)
    expected = READ_OUTS[read_out](expected_gradient(blueprint, images))
    assert_allclose(found.maps, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    assert found.settings["read_out"] == read_out


@pytest.mark.parametrize(
    ("read_out", "expected"), [("max_abs", 0.7), ("abs_sum", 1.4), ("l2", 0.8831761), ("signed_sum", 0.0)]
)
def test_worked_example_of_channel_pooling(read_out, expected, backend):
    blueprint = network(
        plain("flat", "flatten", "input"), dense("head", "flat", [[0.2, -0.7, 0.5]]), shape=(3, 1, 1)
    )
    found = explained(backend, blueprint, pixel(1, 1, 1), method="gradient", read_out=read_out)
    assert_allclose(found.maps.item(), expected, atol=1e-6)


def test_largest_magnitude_is_the_default(backend):
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint)
    found = explained(backend, blueprint, images, method="gradient")
    assert_allclose(found.maps, np.abs(found.attribution).max(axis=2), rtol=1e-6)


def test_predicted_class_is_the_default_target(backend):
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint, 4)
    found = explained(backend, blueprint, images, method="gradient", target=None)
    logits = oracle.forward(blueprint, images)["classifier"]
    assert found.class_indices[:, 0].tolist() == logits.argmax(axis=1).tolist()
    chosen = expected_gradient(blueprint, images)[np.arange(4), logits.argmax(axis=1)]
    assert relative(found.attribution[:, 0], chosen) < 1e-12


@pytest.mark.parametrize("name", ["sigmoid_output", "softmax_output"])
def test_final_activation_is_looked_through(name, backend):
    bare = NETWORKS["vgg_like"]()
    images = example_input(bare)
    found = explained(backend, NETWORKS[name](), images, method="gradient")
    assert relative(found.attribution, expected_gradient(bare, images)) < 1e-12


def test_gradient_of_a_sigmoid_probability_is_p_times_one_minus_p_times_that_of_the_logit(backend):
    blueprint = NETWORKS["sigmoid_output"]()
    images = example_input(blueprint)
    found = explained(backend, blueprint, images, method="gradient", target=Probability(0, 2))
    p = oracle.forward(blueprint, images)["ending"][:, [0, 2], None, None, None]
    expected = p * (1 - p) * expected_gradient(blueprint, images)[:, [0, 2]]
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
