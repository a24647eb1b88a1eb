"""What the author of the package runs once it is installed: ``python -m pytest conformance.py``."""

import importlib.util

import numpy as np
import pytest
from xai_med import explain
from xai_med.errors import UnsupportedOperationError
from xai_med.registry import get_backend
from xai_med.testing import NETWORKS, check_method, check_tensors, example_input


def test_every_tensor_operation_equals_numpys():
    assert check_tensors(get_backend("numpy")) > 60


@pytest.mark.parametrize("method", ["cam", "clear", "grad_cam", "gradient", "place_products"])
def test_method_keeps_its_contract_in_numpy(method):
    found = check_method(method, backends=[get_backend("numpy")])
    assert "numpy: densenet_like" in found.worked


@pytest.mark.parametrize("framework", ["torch", "paddle"])
@pytest.mark.parametrize("method", ["cam", "clear", "grad_cam", "gradient", "place_products"])
def test_numpy_agrees_with_a_framework(method, framework):
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    found = check_method(method, backends=[get_backend("numpy"), get_backend(framework)])
    assert found.between_frameworks < 1e-7


@pytest.mark.parametrize("name", ["vgg_like", "fully_connected_head", "volume"])
def test_place_products_and_the_bias_add_up_to_the_score_before_a_linear_head(name):
    blueprint = NETWORKS[name]()
    layer, linear = ("conv1", False) if name == "fully_connected_head" else (None, True)
    model = get_backend("numpy").build(blueprint, dtype="float64")
    found = explain(model, example_input(blueprint), method="place_products", target="all", layer=layer)
    total = found.attribution.reshape(*found.scores.shape, -1).sum(axis=2) + blueprint.steps[-1].arrays["bias"]
    assert np.allclose(total, found.scores, rtol=0, atol=1e-10) == linear


def test_relu_keeps_positive_evidence_only():
    blueprint = NETWORKS["vgg_like"]()
    model, images = get_backend("numpy").build(blueprint), example_input(blueprint)
    signed, positive = (
        explain(model, images, method="place_products", relu=relu).attribution for relu in (False, True)
    )
    assert (signed < 0).any()
    np.testing.assert_array_equal(positive, np.maximum(signed, 0))


def test_rules_are_refused_and_other_methods_named():
    model = get_backend("numpy").build(NETWORKS["vgg_like"]())
    with pytest.raises(UnsupportedOperationError, match=r"no surrogates for rules.*method='gradient'"):
        explain(model, example_input(NETWORKS["vgg_like"]()), method="lrp")
