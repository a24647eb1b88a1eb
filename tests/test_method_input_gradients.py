"""Input x gradient, guided backpropagation, deconvnet, Guided Grad-CAM: oracles, relations, refusals and a peer."""

import expectations
import numpy as np
import peers
import pytest
from paper_networks import dense, explained, network, pointwise

from xai_med import attribute, explain
from xai_med.errors import LayerError, NotApplicableError, SettingError, UnsupportedOperationError
from xai_med.maps.resize import resize
from xai_med.registry import get_backend
from xai_med.testing import NETWORKS, check_method, example_input, oracle
from xai_med.testing.check_backend import relative
from xai_med.testing.network_layers import plain

RECTIFIED = {"guided_backprop": "guided", "deconvnet": "deconv"}
ALL = ("input_x_gradient", *RECTIFIED, "guided_grad_cam")


def pulled_back(name, relu):
    """What arrives for each class under a rule for ReLUs, (N, K, C, *space)."""
    blueprint, images = NETWORKS[name](), expectations.images(name)
    start = oracle.logits_step(blueprint)
    logits = expectations.logits(name)
    found = []
    for k in range(logits.shape[1]):
        cotangent = np.zeros_like(logits)
        cotangent[:, k] = 1
        found.append(oracle.vector_jacobian(blueprint, images, of=start, cotangent=cotangent, relu=relu))
    return np.stack(found, axis=1)


@pytest.mark.parametrize(
    "name", ["vgg_like", "resnet_like", "densenet_like", "fully_connected_head", "signal", "volume"]
)
def test_input_x_gradient_is_the_oracles_gradient_times_the_image(name, backend):
    images = expectations.images(name)
    found = explained(backend, NETWORKS[name](), images, method="input_x_gradient")
    expected = expectations.gradients(name) * images[:, None]
    assert relative(found.attribution, expected) < 1e-12
    assert np.abs(found.maps - expected.sum(axis=2)).max() < 1e-6 * np.abs(expected).max()


def test_without_biases_the_sum_of_input_x_gradient_is_the_score(backend):
    model = network(
        pointwise("first", "input", [[1.0, -2.0], [0.5, 1.0], [-1.0, 3.0]]),
        plain("relu", "relu", "first"),
        plain("flat", "flatten", "relu"),
        dense("head", "flat", np.random.default_rng(0).normal(size=(4, 3 * 6))),
        shape=(2, 2, 3),
    )
    images = example_input(model, 3, 5)
    found = explained(backend, model, images, method="input_x_gradient")
    assert np.allclose(found.attribution.sum(axis=(2, 3, 4)), found.scores, atol=1e-12)


@pytest.mark.parametrize("name", ["vgg_like", "resnet_like", "densenet_like", "signal", "volume"])
@pytest.mark.parametrize("method", RECTIFIED)
def test_what_arrives_under_a_rule_for_rectifiers_is_the_oracles(method, name, backend):
    found = explained(backend, NETWORKS[name](), expectations.images(name), method=method)
    expected = pulled_back(name, RECTIFIED[method])
    assert relative(found.attribution, expected) < 1e-12
    assert np.abs(found.maps - np.abs(expected).max(axis=2)).max() < 1e-6 * np.abs(expected).max()
    assert relative(found.attribution, expectations.gradients(name)) > 1e-3  # it is another thing than the gradient
    assert f"ReLU: {RECTIFIED[method]}" in found.check("operations").note


@pytest.mark.parametrize("layer", [None, "conv1"])
def test_guided_grad_cam_is_the_product_of_its_factors(layer, backend):
    images = expectations.images("vgg_like")
    coarse = explained(backend, NETWORKS["vgg_like"](), images, method="grad_cam", layer=layer)
    guided = explained(backend, NETWORKS["vgg_like"](), images, method="guided_backprop")
    both = explained(backend, NETWORKS["vgg_like"](), images, method="guided_grad_cam", layer=layer)
    expected = guided.attribution * resize(coarse.attribution, images.shape[2:])[:, :, None]
    assert relative(both.attribution, expected) < 1e-12
    assert both.layer == coarse.layer


def test_guided_grad_cam_may_be_enlarged_in_blocks(backend):
    images = expectations.images("vgg_like")
    coarse = explained(backend, NETWORKS["vgg_like"](), images, method="grad_cam")
    guided = explained(backend, NETWORKS["vgg_like"](), images, method="guided_backprop")
    both = explained(backend, NETWORKS["vgg_like"](), images, method="guided_grad_cam", interpolation="nearest")
    blocks = resize(coarse.attribution, images.shape[2:], nearest=True)
    assert relative(both.attribution, guided.attribution * blocks[:, :, None]) < 1e-12
    assert set(np.unique(blocks)) <= set(np.unique(coarse.attribution))
    with pytest.raises(SettingError, match="'linear' or 'nearest'"):
        explained(backend, NETWORKS["vgg_like"](), images, method="guided_grad_cam", interpolation="cubic")


@pytest.mark.parametrize("method", ALL)
def test_contract_of_methods(method):
    assert check_method(method).between_frameworks < 1e-12


@pytest.mark.parametrize("method", ALL)
def test_double_precision_finds_nothing_wrong(method, backend):
    found = explained(backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method=method, verify=True)
    assert found.check("read_out").passed
    assert found.check("difference_quotients").is_measured == (method == "input_x_gradient")


@pytest.mark.parametrize("method", ALL)
def test_an_unknown_read_out_is_refused(method, backend):
    with pytest.raises(SettingError, match="read_out='median' is unknown; choose one of max_abs"):
        explained(backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method=method, read_out="median")


@pytest.mark.parametrize("method", ["input_x_gradient", *RECTIFIED])
def test_methods_at_the_input_have_no_layer(method, backend):
    with pytest.raises(SettingError, match=f"{method} is taken at the input and has no layer"):
        explained(backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method=method, layer="conv1")


def test_guided_grad_cam_refuses_a_layer_that_does_not_exist(backend):
    with pytest.raises(LayerError, match="the model has no layer 'conv7'"):
        explained(
            backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method="guided_grad_cam", layer="conv7"
        )


@pytest.mark.parametrize("method", ALL)
def test_no_graph_is_kept_where_it_would_not_be_the_methods(method, backend):
    blueprint = NETWORKS["vgg_like"]()
    with pytest.raises(NotApplicableError, match=r"not differentiable|keeps no graph"):
        attribute(backend.build(blueprint), example_input(blueprint), method=method, target=0, differentiable=True)


@pytest.mark.parametrize("method", [*RECTIFIED, "guided_grad_cam"])
def test_a_network_without_rectifiers_is_refused(method, backend):
    model = network(pointwise("only", "input", np.eye(2)), *_pooled(), shape=(2, 3, 3))
    with pytest.raises(NotApplicableError, match=r"the model has none on the way to the output; use method='gradient'"):
        explained(backend, model, example_input(model), method=method)


@pytest.mark.parametrize("method", [*RECTIFIED, "guided_grad_cam"])
def test_another_rectifier_is_refused_by_name(method):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(2, 2, 3),
        torch.nn.GELU(),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 2),
    )
    with pytest.raises(UnsupportedOperationError, match=r"have none for activation: gelu .*; use method='gradient'"):
        explain(model, np.zeros((1, 1, 6, 6), np.float32), method=method, target=0)


def test_captums_input_x_gradient_is_ours():
    pytest.importorskip("captum")
    for name in ("vgg_like", "densenet_like"):
        backend, images = get_backend("torch"), expectations.images(name)
        ours = explained(backend, NETWORKS[name](), images, method="input_x_gradient").attribution
        model = backend.build(NETWORKS[name](), dtype="float64")
        theirs = peers.captum_at_input("InputXGradient", model, images.astype(np.float64), ours.shape[1])
        assert relative(ours, theirs) < 1e-12


def test_captums_guided_backprop_of_a_model_of_modules_is_ours():
    torch = pytest.importorskip("torch")
    pytest.importorskip("captum")
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Conv2d(4, 3, 2), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 3),
    ).double().eval()  # fmt: skip
    images = np.random.default_rng(0).normal(size=(2, 2, 9, 8))
    for method, theirs in (("guided_backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution")):
        ours = explain(model, images, method=method, target="all").attribution
        assert relative(ours, peers.captum_at_input(theirs, model, images, 3)) < 1e-12
    coarse = explain(model, images, method="guided_grad_cam", layer="4", target="all").attribution
    assert relative(coarse, peers.captum_guided_grad_cam(model, "4", images, 3)) < 1e-6


def _pooled():
    return plain("pool", "global_average_pool", "only", style="mean"), dense("head", "pool", [[1.0, 2.0], [0.5, -1.0]])
