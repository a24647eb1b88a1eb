"""Grad-CAM's relatives: worked examples, plain loops over the oracle's gradients, relations, and two peers."""

import expectations
import numpy as np
import peers
import pytest
from numpy.testing import assert_allclose
from paper_networks import dense, explained, network, pointwise

from xai_med import explain
from xai_med.errors import LayerError, SettingError
from xai_med.registry import get_backend
from xai_med.testing import NETWORKS, check_method, oracle
from xai_med.testing.check_backend import relative
from xai_med.testing.network_layers import plain

ACTIVATIONS = np.array([[[[1, 0.5], [0, 2]], [[0, 1], [1, 0]]]])  # METHODS 3
GRADIENTS = [[[2, -2], [-2, 2]], [[1, 1], [1, 1]]]
BY_DEFAULT = [
    ("vgg_like", "relu2"),
    ("resnet_like", "b_out"),
    ("densenet_like", "relu5"),
    ("hidden_layer_head", "relu1"),
]
NAMED = [
    ("vgg_like", "conv1"),
    ("vgg_like", "pool1"),
    ("densenet_like", "t_pool"),
    ("fully_connected_head", "pool1"),
    ("signal", "pool1"),
    ("volume", "pool2"),
]


def hires(features, slopes):
    return sum(a * g for a, g in zip(features, slopes, strict=True))


def layer_cam(features, slopes):
    return sum(a * np.maximum(g, 0) for a, g in zip(features, slopes, strict=True))


def xgrad(features, slopes):
    found = np.zeros_like(features[0])
    for a, g in zip(features, slopes, strict=True):
        if a.sum():
            found = found + a * (a * g).sum() / a.sum()
    return found


def plus_plus(features, slopes, *, released=False, epsilon=0.0):
    found = np.zeros_like(features[0])
    for a, g in zip(features, slopes, strict=True):
        shares = np.zeros_like(g)
        for place in np.argwhere(g > 0):
            slope = g[tuple(place)]
            shares[tuple(place)] = slope**2 / (2 * slope**2 + a.sum() * slope**3 + epsilon)
        if released and shares.sum():
            shares = shares / shares.sum()
        found = found + a * (shares * np.maximum(g, 0)).sum()
    return found


FORMULAS = {
    "hires_cam": (hires, {}),
    "layer_cam": (layer_cam, {}),
    "xgrad_cam": (xgrad, {}),
    "grad_cam_plus_plus": (plus_plus, {}),
    "released": (lambda a, g: plus_plus(a, g, released=True), {"variant": "released"}),
    "stabilised": (lambda a, g: plus_plus(a, g, epsilon=1e-4), {"epsilon": 1e-4}),
}


def asked(case, **settings):
    name = "grad_cam_plus_plus" if case in ("released", "stabilised") else case
    return {"method": name, **FORMULAS[case][1], **settings}


def expected(case, name, layer):
    """By plain loops over images, classes and channels, (N, K, *layer space)."""
    blueprint, images = NETWORKS[name](), expectations.images(name)
    start = oracle.logits_step(blueprint)
    values = oracle.forward(blueprint, images)
    count = values[start].shape[1]
    found = []
    for k in range(count):
        cotangent = np.zeros_like(values[start])
        cotangent[:, k] = 1
        slopes = oracle.vector_jacobian(blueprint, images, of=start, cotangent=cotangent, to=layer)
        found.append([FORMULAS[case][0](a, g) for a, g in zip(values[layer], slopes, strict=True)])
    return np.moveaxis(np.array(found), 0, 1)


@pytest.mark.parametrize(
    ("case", "name", "layer"),
    [
        (case, name, layer)
        for case in FORMULAS
        for name, layer in BY_DEFAULT + NAMED
        if layer != "conv1"
        or case not in ("grad_cam_plus_plus", "released", "stabilised")  # refused, which is tested below
    ],
)
def test_maps_are_those_of_plain_loops_over_the_oracles_gradients(case, name, layer, backend):
    images = expectations.images(name)
    chosen = {"layer": layer} if (name, layer) in NAMED else {}
    signed = explained(backend, NETWORKS[name](), images, **asked(case, relu=False, **chosen))
    wanted = expected(case, name, layer)
    assert relative(signed.attribution, wanted) < 1e-12
    positive = explained(backend, NETWORKS[name](), images, **asked(case, relu=True, **chosen))
    assert_allclose(positive.attribution, np.maximum(wanted, 0), rtol=0, atol=1e-12 * np.ptp(wanted))


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        ("hires_cam", [[2, 0], [1, 4]]),
        ("layer_cam", [[2, 1], [1, 4]]),
        ("grad_cam_plus_plus", [[4 / 9, 1 + 2 / 9], [1, 8 / 9]]),
        ("released", [[2, 2], [1, 4]]),
    ],
)
def test_worked_example(case, wanted, backend):
    model = network(
        pointwise("features", "input", np.eye(2)),
        plain("flat", "flatten", "features"),
        dense("head", "flat", np.reshape(GRADIENTS, (1, -1))),
        shape=(2, 2, 2),
    )
    found = explained(backend, model, ACTIVATIONS, layer="features", **asked(case))
    assert_allclose(found.attribution[0, 0], wanted, atol=1e-12)


@pytest.mark.parametrize("name", ["vgg_like", "resnet_like", "densenet_like", "signal", "volume"])
def test_behind_a_global_pool_hires_cam_is_the_class_map_over_the_number_of_cells(name, backend):
    images = expectations.images(name)
    cam = explained(backend, NETWORKS[name](), images, method="cam").attribution
    found = explained(backend, NETWORKS[name](), images, method="hires_cam").attribution
    assert_allclose(found, cam / cam[0, 0].size, rtol=0, atol=1e-13)


def test_hires_and_xgrad_cam_have_the_same_sum(backend):
    name, layer = "fully_connected_head", "pool1"
    images = expectations.images(name)
    hires_map, xgrad_map = (
        explained(backend, NETWORKS[name](), images, method=method, layer=layer, relu=False).attribution.sum(
            axis=(2, 3)
        )
        for method in ("hires_cam", "xgrad_cam")
    )
    assert_allclose(hires_map, xgrad_map, rtol=1e-10)


@pytest.mark.parametrize("method", ["hires_cam", "layer_cam", "xgrad_cam", "grad_cam_plus_plus"])
def test_the_methods_keep_the_contract_in_every_framework(method):
    found = check_method(method)
    assert len(found.worked) >= 16
    assert found.between_frameworks < 1e-7


@pytest.mark.parametrize("case", FORMULAS)
def test_results_verify_themselves(case, backend):
    images = expectations.images("vgg_like").astype(np.float32)
    found = explain(backend.build(NETWORKS["vgg_like"]()), images, target="all", verify=True, **asked(case))
    assert found.all_passed
    assert found.check("recomputed").passed
    assert found.check("difference_quotients").passed


def test_grad_cam_plus_plus_refuses_features_that_make_it_divide_by_nothing(backend):
    model = network(
        pointwise("features", "input", np.eye(1)),
        plain("flat", "flatten", "features"),
        dense("head", "flat", np.ones((1, 4))),
        shape=(1, 2, 2),
    )
    with pytest.raises(LayerError, match="behind a ReLU"):
        explained(backend, model, np.full((1, 1, 2, 2), -0.5), method="grad_cam_plus_plus", layer="features")


def test_xgrad_cam_refuses_features_that_cancel(backend):
    model = network(
        pointwise("features", "input", np.eye(1)),
        plain("flat", "flatten", "features"),
        dense("head", "flat", np.array([[1.0, 2.0, 3.0, 4.0]])),
        shape=(1, 2, 2),
    )
    images = np.array([[[[1.0, -1.0], [2.0, -2.00001]]]])
    with pytest.raises(LayerError, match="cancel"):
        explained(backend, model, images, method="xgrad_cam", layer="features")
    nothing = explained(backend, model, np.zeros((1, 1, 2, 2)), method="xgrad_cam", layer="features")
    assert (nothing.attribution == 0).all()


def test_an_unknown_variant_is_refused(backend):
    images = expectations.images("vgg_like")
    with pytest.raises(SettingError, match="published, released"):
        explained(backend, NETWORKS["vgg_like"](), images, method="grad_cam_plus_plus", variant="mine")


@pytest.mark.parametrize("epsilon", [-1e-6, float("nan"), float("inf"), "small"])
def test_an_epsilon_that_is_no_amount_is_refused(epsilon, backend):
    images = expectations.images("vgg_like")
    with pytest.raises(SettingError, match=r"epsilon is a number( of at least 0|, got)"):
        explained(backend, NETWORKS["vgg_like"](), images, method="grad_cam_plus_plus", epsilon=epsilon)


PEERS = {
    "hires_cam": ("HiResCAM", 1e-12),
    "layer_cam": ("LayerCAM", 1e-12),
    "xgrad_cam": ("XGradCAM", 1e-5),  # theirs adds 1e-7 to the sum of features
    "grad_cam_plus_plus": (
        "GradCAMPlusPlus",
        0.05,
    ),  # theirs adds 1e-6 to twice the gradient squared, which is 5e-5 here
}


@pytest.mark.parametrize("method", PEERS)
def test_pytorch_grad_cam_draws_the_same(method):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    peers.grad_cam_library()
    blueprint, images = NETWORKS["vgg_like"](), expectations.images("vgg_like").astype(np.float64)
    model = get_backend("torch").build(blueprint, dtype="float64")
    name, tolerance = PEERS[method]
    theirs = peers.grad_cam_relative(name, model, "pool1", images, 1)
    ours = explain(model, images, method=method, layer="pool1", target=1, relu=True).attribution[:, 0]
    assert_allclose(ours, theirs, rtol=0, atol=tolerance * ours.max())
    assert ours.max() > 0
