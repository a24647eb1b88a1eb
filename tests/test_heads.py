"""Every way to write an average pool and one linear map has its class activation map; whatever else is refused."""

from importlib import import_module

import numpy as np
import pytest
from heads import oracle
from numpy.testing import assert_allclose

from xai_med import Contrast, attribute, explain
from xai_med.errors import GradientError, IdentityError, LayerError, NotApplicableError, OutputError
from xai_med.testing.check_backend import relative

TOLERANCE = 1e-12
AFFINE = sorted({*oracle.AFFINE_MAPS, *oracle.CLASS_KERNELS})
PLAIN = ("linear", "pool_module", "one_by_one_convolution", "squeezed", "dropped", "class_kernels")
SIDE_BY_SIDE = ("two_halves_of_the_channels", "two_slices")
NO_HEADS = {
    "relu": "a hidden layer stands between the pool and the output (relu)",
    "tanh": "a hidden layer stands between the pool and the output (tanh)",
    "layer_norm": "divides by statistics of the sample itself",
    "l2_norm": "divides by statistics of the sample itself",
    "l2_norm_by_hand": "multiplies two signals",
    "max_pool": "the model pools by maximum",
    "max_pool_of_flat": "the model pools by maximum",
    "max_and_average": "the model pools by maximum",
    "flatten": "the features are flattened without a global average pool",
    "one_place": "the features are flattened without a global average pool",
    "crop": "are not averaged: their places count differently",
    "gem": "a hidden layer stands between the pool and the output",
    "attention": "multiplies two signals, both of which depend on the image (a gate, or attention)",
    "attention_kept": "multiplies two signals, both of which depend on the image (a gate, or attention)",
    "attention_by_matmul": "multiplies two signals, both of which depend on the image (a gate, or attention)",
    "attention_by_hand": "the features are weighed by attention",
    "tokens_and_class_token": "cells that lie nowhere in the image, such as a class token, are averaged",
    "gate": "multiplies two signals",
    "gated_vector": "multiplies two signals",
    "squared": "multiplies two signals",
    "reciprocal": "a hidden layer stands between the pool and the output",
    "two_layers": "several tensors are pooled",
    "masked": "makes the output depend on a comparison",
    "sorted_classes": "makes the output depend on a comparison",
    "partly_detached": "detach stands between the features and the output, and cuts derivatives",
}


@pytest.fixture
def heads(backend):
    """The heads in one framework."""
    return import_module(f"heads.{backend.name}_heads")


@pytest.fixture
def build(heads):
    """Give a model by the name of its head."""

    def built(name):
        known = heads.HEADS | heads.NO_HEADS | heads.NORMALISED_TOKENS
        return heads.Model(known[name], rectified=name not in oracle.CLASS_KERNELS)

    return built


def test_every_head_is_written_in_this_framework(heads):
    assert sorted(heads.HEADS) == AFFINE
    assert set(NO_HEADS) <= set(heads.NO_HEADS)


@pytest.mark.parametrize("name", AFFINE)
@pytest.mark.parametrize("count", [1, 3])
def test_maps_are_the_features_weighed_by_the_affine_map_of_the_head(name, count, build):
    x = oracle.images(count)
    found = explain(build(name), x, method="cam", target="all")
    assert relative(found.attribution, oracle.class_maps(name, x)) < TOLERANCE
    assert_allclose(found.scores, oracle.logits(name, x), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", AFFINE)
def test_mean_over_space_and_the_bias_of_the_head_is_the_logit(name, build):
    x = oracle.images()
    found = explain(build(name), x, method="cam", target="all")
    bias = oracle.logits(name, x) - oracle.class_maps(name, x).mean((2, 3))
    assert_allclose(found.attribution.mean((2, 3)) + bias, found.scores, rtol=0, atol=TOLERANCE)
    (identity,) = (check for check in found.checks if check.key == "cam_identity")
    assert identity.passed
    assert identity.value < TOLERANCE


@pytest.mark.parametrize("name", ["two_heads", "sum", "mean_of_flat", "temperature_learned"])
def test_a_contrast_and_classes_by_image_select_rows_of_any_head(name, build):
    x = oracle.images()
    maps = oracle.class_maps(name, x)
    difference = explain(build(name), x, method="cam", target=Contrast(2, 0)).attribution[:, 0]
    assert relative(difference, maps[:, 2] - maps[:, 0]) < TOLERANCE
    own = explain(build(name), x, method="cam", target=[2, 1]).attribution[:, 0]
    assert relative(own, np.stack([maps[0, 2], maps[1, 1]])) < TOLERANCE


@pytest.mark.parametrize("name", sorted(NO_HEADS))
@pytest.mark.parametrize("count", [1, 2])
def test_a_head_that_is_no_average_and_one_linear_map_is_refused_by_name(name, count, build):
    with pytest.raises(NotApplicableError) as refusal:
        explain(build(name), oracle.images(count), method="cam", target="all")
    assert NO_HEADS[name] in str(refusal.value)
    assert "use method='grad_cam'" in str(refusal.value)


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True to a scalar")
@pytest.mark.parametrize("name", ["rounded", "detached", "read_number"])
def test_rounding_cutting_and_reading_numbers_behind_the_pool_is_refused(name, build):
    with pytest.raises((NotApplicableError, ArithmeticError, RuntimeError), match=r"method='grad_cam'|cut by detach"):
        explain(build(name), oracle.images(), method="cam", target="all")


@pytest.mark.parametrize("name", ["tokens", "tokens_summed"])
def test_tokens_that_are_averaged_are_features_at_their_places(name, build):
    x = oracle.images()
    expected = np.einsum("kc,nchw->nkhw", oracle.WEIGHTS["weight"], oracle.normalised(oracle.features(x)))
    found = explain(build(name), x, method="cam", target="all", verify=True)
    assert relative(found.attribution, expected) < 1e-8  # PaddlePaddle keeps the epsilon of a layer norm in float32
    assert [check for check in found.checks if check.key == "occlusion" and check.passed]


# ---- the output's shape


@pytest.mark.parametrize("method", ["cam", "grad_cam", "gradient", "lrp"])
@pytest.mark.parametrize("name", ["kept_axes_head", "squeezed_before_the_head", "single_logit"])
@pytest.mark.parametrize("count", [1, 2])
def test_axes_of_size_one_neither_make_an_output_dense_nor_lose_its_images(name, count, method, build):
    x = oracle.images(count)
    found = explain(build(name), x, method=method, target="all")
    plain = "linear" if name != "single_logit" else "mm"
    expected = oracle.logits(name, x) if name == "single_logit" else oracle.logits(plain, x)
    assert_allclose(found.scores, expected, rtol=0, atol=TOLERANCE)
    assert found.maps.shape == (*expected.shape, *oracle.SPACE)


@pytest.mark.parametrize("end", ["flatten", "mean"])
def test_an_output_without_a_row_for_each_image_is_refused(end, heads):
    model = heads.Model(lambda s, f: getattr(s.linear(heads.mean(f)), end)(0))
    with pytest.raises(OutputError, match="row"):
        explain(model, oracle.images(2), method="gradient", target=0)


# ---- Grad-CAM finds the same features


@pytest.mark.parametrize("name", [name for name in AFFINE if name not in SIDE_BY_SIDE])
def test_grad_cam_finds_what_enters_the_pool(name, build):
    x = oracle.images()
    maps = oracle.class_maps(name, x)
    if name in oracle.CLASS_KERNELS:  # Grad-CAM does not set a bias apart
        maps = oracle.CLASS_KERNELS[name](oracle.features(x, rectified=False))
    found = explain(build(name), x, method="grad_cam", target="all")
    assert relative(found.attribution, np.maximum(maps, 0) / oracle.CELLS) < TOLERANCE


@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_grad_cam_does_not_choose_between_pools_side_by_side(name, build):
    with pytest.raises(LayerError, match="side by side"):
        explain(build(name), oracle.images(), method="grad_cam", target="all")


# ---- layers, verification, derivatives


@pytest.mark.parametrize("name", ["linear", "channels_last_mean", "mean_of_flat", "two_linear_layers", "copied_vector"])
def test_the_layer_that_enters_the_pool_may_be_named(name, build):
    x = oracle.images()
    found = explain(build(name), x, method="cam", target="all", layer="trunk")
    assert relative(found.attribution, oracle.class_maps(name, x)) < TOLERANCE


@pytest.mark.parametrize("name", ["linear", "sum", "channels_last_mean", "two_heads", "class_kernels_with_temperature"])
def test_occluding_cells_of_the_features_verifies_the_map(name, build):
    found = explain(build(name), oracle.images(), method="cam", target="all", verify=True)
    (occlusion,) = (check for check in found.checks if check.key == "occlusion")
    assert occlusion.passed


def _slopes(model, x, **settings):
    """Sum of squares of the maps, differentiated by a trunk weight and by a head weight."""
    torch = pytest.importorskip("torch")
    images = torch.tensor(x)
    maps = attribute(model, images, method="cam", target="all", differentiable=True, **settings)
    inputs = (model.trunk_weight, model.weight)
    return torch.autograd.grad(maps.square().sum(), inputs, allow_unused=True)


@pytest.mark.parametrize("name", ["matmul_transposed", "mean_of_flat", "sum_divided", "einsum_head", "kept_axes_head"])
def test_derivatives_of_a_map_are_those_of_the_plain_head(name):
    heads, x = import_module("heads.torch_heads"), oracle.images()
    expected = _slopes(heads.Model(heads.HEADS["linear"]), x)
    found = _slopes(heads.Model(heads.HEADS[name]), x)
    for given, wanted in zip(found, expected, strict=True):
        assert_allclose(given.numpy(), wanted.numpy(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["linear", "matmul_transposed", "mean_of_flat"])
def test_detached_weights_receive_no_derivatives(name):
    heads, x = import_module("heads.torch_heads"), oracle.images()
    expected = _slopes(heads.Model(heads.HEADS["linear"]), x)[0]
    trunk, head = _slopes(heads.Model(heads.HEADS[name]), x, detach_weights=True)
    assert head is None
    assert_allclose(trunk.numpy(), expected.numpy(), rtol=1e-11, atol=1e-12)


def test_paddle_cannot_differentiate_the_weights_of_a_head_that_is_asked():
    paddle = pytest.importorskip("paddle")
    heads = import_module("heads.paddle_heads")
    model, x = heads.Model(heads.HEADS["mean_of_flat"]), paddle.to_tensor(oracle.images())
    with pytest.raises(GradientError, match="give detach_weights=True, or write the head as one linear layer"):
        attribute(model, x, method="cam", target="all", differentiable=True)
    maps = attribute(model, x, method="cam", target="all", differentiable=True, detach_weights=True)
    (found,) = paddle.grad([maps.square().sum()], [model.trunk_weight])
    plain = heads.Model(heads.HEADS["linear"])
    maps = attribute(plain, x, method="cam", target="all", differentiable=True, detach_weights=True)
    (expected,) = paddle.grad([maps.square().sum()], [plain.trunk_weight])
    assert_allclose(found.numpy(), expected.numpy(), rtol=1e-11, atol=1e-12)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_a_scripted_function_adds_behind_the_pool_is_not_taken_for_a_bias():
    torch = pytest.importorskip("torch")
    heads = import_module("heads.torch_heads")
    hidden = torch.jit.script(_squares)
    model = heads.Model(lambda s, f: s.linear(heads.mean(f)) + hidden(heads.mean(f))[:, : oracle.CLASSES])
    with pytest.raises(IdentityError, match="does not add up to the logit"):
        explain(model, oracle.images(1), method="cam", target="all")


def _squares(p):
    return p * p
