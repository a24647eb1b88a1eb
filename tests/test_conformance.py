"""Fast versions of what scripts/conformance.py measures: two frameworks, conservation at full size, peers' failures."""

import conservation
import numpy as np
import pytest
from numpy.testing import assert_allclose
from parity import in_both, map_differences, rounding
from quick import CLASSIC, METHODS, quick

from xai_med.demo.network import demo_blueprint
from xai_med.demo.phantoms import phantoms
from xai_med.testing import NETWORKS, example_input
from xai_med.testing.check_backend import relative

SMALL = ["densenet_like", "resnet_like", "vgg_like", "volume", "signal"]


@pytest.fixture(autouse=True)
def both_frameworks():
    for framework in ("torch", "paddle"):
        pytest.importorskip(framework, reason=f"{framework} is not installed")


@pytest.fixture
def demonstration():
    try:
        return demo_blueprint()
    except FileNotFoundError:
        pytest.skip("the demonstration network has no weights")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SMALL)
def test_frameworks_agree_in_float64(name, method):
    blueprint = NETWORKS[name]()
    settings = quick(method, blueprint)
    first, second = in_both(blueprint, example_input(blueprint, 4), method=method, dtype="float64", **settings)
    assert first.dtype == second.dtype == "float64"
    assert map_differences(first.attribution, second.attribution).max() < 1e-7
    assert_allclose(second.scores, first.scores, rtol=1e-9)


@pytest.mark.parametrize("method", ["cam", "grad_cam", "clear"])
@pytest.mark.parametrize("name", SMALL)
def test_frameworks_agree_in_float32(name, method):
    blueprint = NETWORKS[name]()
    first, second = in_both(blueprint, example_input(blueprint, 8), method=method)
    assert first.attribution.dtype == np.float32
    assert relative(second.attribution, first.attribution) < 1e-5
    assert relative(second.maps, first.maps) < 1e-5


@pytest.mark.parametrize("name", SMALL)
def test_frameworks_differ_in_relevance_no_more_than_float32_from_float64(name):
    """Terms of a sum that almost cancel get large shares: 6e-4 between widths in densenet_like, within torch."""
    blueprint = NETWORKS[name]()
    narrow, wide = (
        in_both(blueprint, example_input(blueprint, 8), method="lrp", dtype=dtype) for dtype in ("float32", "float64")
    )
    difference = relative(narrow[1].attribution, narrow[0].attribution)
    assert difference < max(1e-5, 3 * rounding(narrow, wide))
    assert difference < 1e-3


def test_frameworks_name_the_same_dominant_class():
    blueprint = NETWORKS["densenet_like"]()
    first, second = in_both(blueprint, example_input(blueprint, 8), method="clear", dtype="float64")
    assert (first.extras["dominant_class"] == second.extras["dominant_class"]).all()


@pytest.mark.parametrize("method", CLASSIC)
def test_frameworks_agree_on_phantoms(method, demonstration):
    images = phantoms(2, seed=977).images.astype(np.float32)
    first, second = in_both(demonstration, images, method=method, dtype="float64")
    assert map_differences(first.attribution, second.attribution).max() < 1e-7
    if method != "gradient":
        narrow = in_both(demonstration, images, method=method)
        assert relative(narrow[1].attribution, narrow[0].attribution) < 1e-5


def test_map_difference_is_relative_to_the_maps_own_range():
    first = np.array([[[0.0, 2.0], [0.0, 200.0]]])
    second = first + np.array([[[0.0, 0.1], [0.0, 0.1]]])
    assert_allclose(map_differences(first, second), [[0.05, 0.0005]])


def test_constant_maps_that_differ_are_infinitely_far_apart():
    assert map_differences(np.zeros((1, 2, 3)), np.array([[[0.0] * 3, [1.0] * 3]])).tolist() == [[0, np.inf]]


@pytest.mark.parametrize("name", ["densenet121", "resnet18"])
def test_large_networks_conserve_but_for_units_without_positive_part(name):
    images = conservation.random_images(1, 64)
    assert_allclose(conservation.our_share(conservation.paddle_model(name), images), 1, atol=0.05)
    pytest.importorskip("captum", reason="torchvision comes with the peers")
    assert_allclose(conservation.our_share(conservation.torchvision_model(name), images), 1, atol=0.05)


def test_zennit_keeps_the_same_share_of_a_resnet_only_with_its_canonizer():
    pytest.importorskip("captum", reason="the peers are not installed")
    images = conservation.random_images(1, 64)
    model = conservation.torchvision_model("resnet18")
    ours = conservation.our_share(model, images)
    with_canonizer, without = (
        conservation.zennit_share("resnet18", model, images, canonized=canonized) for canonized in (True, False)
    )
    assert_allclose(with_canonizer, ours, rtol=1e-3)
    assert without[0] > 100  # eight additions double it
