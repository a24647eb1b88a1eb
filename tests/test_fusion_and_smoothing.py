"""Maps of several layers as one, and maps averaged over mirrored and rescaled copies."""

import expectations
import numpy as np
import pytest
from numpy.testing import assert_allclose
from paper_networks import explained

from xai_med import Classes, FunctionOfOutput, Mask, Probability
from xai_med.errors import LayerError, NotApplicableError, SettingError
from xai_med.maps.resize import resize
from xai_med.testing import NETWORKS
from xai_med.testing.check_backend import relative

NAME = "vgg_like"


def asked(backend, images=None, **settings):
    images = expectations.images(NAME).astype(np.float64) if images is None else images
    return explained(backend, NETWORKS[NAME](), images, **settings)


@pytest.mark.parametrize("method", ["grad_cam", "hires_cam", "eigen_cam", "ablation_cam"])
def test_maps_of_layers_are_brought_to_one_size_and_one_scale_and_averaged(method, backend):
    found = asked(backend, method=method, layer=["conv2", "pool1"])
    expected = []
    for layer in ("conv2", "pool1"):
        single = resize(asked(backend, method=method, layer=layer).attribution, (11, 9))
        peak = np.abs(single).max(axis=(2, 3), keepdims=True)
        expected.append(single / np.where(peak > 0, peak, 1))
    assert relative(found.attribution, np.mean(expected, axis=0)) < 1e-12
    assert found.layer == "conv2, pool1"
    assert found.check("layers_fused").value == 2


def test_fused_layers_are_refused_where_there_are_none(backend):
    for layers, message in ((["conv2"], "got conv2"), ((), "got none"), (["conv2", "conv2"], "each once")):
        with pytest.raises(LayerError, match=f"two layers or more, .*{message}"):
            asked(backend, method="grad_cam", layer=layers)
    with pytest.raises(LayerError, match="has no layer 'conv9'"):
        asked(backend, method="grad_cam", layer=["conv2", "conv9"])
    with pytest.raises(SettingError, match="gradient is taken at the input and has no layer"):
        asked(backend, method="gradient", layer=["conv2", "conv1"])


def test_each_layer_is_verified(backend):
    found = asked(backend, method="grad_cam", layer=["conv2", "pool1"], verify=True)
    assert found.check("recomputed").passed


COPIES = {
    "flips": [(False, 1.0), (True, 1.0)],
    "scales": [(False, 0.9), (False, 1.0), (False, 1.1)],
    "flips_and_scales": [(flip, factor) for flip in (False, True) for factor in (0.9, 1.0, 1.1)],
}


@pytest.mark.parametrize("smoothing", COPIES)
@pytest.mark.parametrize("method", ["grad_cam", "cam", "lrp", "gradient", "occlusion"])
def test_smoothing_is_the_mean_over_copies_brought_back(method, smoothing, backend):
    images = expectations.images(NAME).astype(np.float64)
    found = asked(backend, method=method, smoothing=smoothing)
    parts = []
    for is_mirrored, factor in COPIES[smoothing]:
        copy = (images[..., ::-1] if is_mirrored else images) * factor
        one = asked(backend, np.ascontiguousarray(copy), method=method).attribution
        parts.append(one[..., ::-1] if is_mirrored else one)
    assert relative(found.attribution, np.mean(parts, axis=0)) < 1e-12
    assert_allclose(found.scores, expectations.logits(NAME), rtol=1e-9)
    assert found.settings["smoothing"] == smoothing
    assert found.check("copies").value == len(parts)


def test_the_class_of_the_image_itself_is_explained_in_every_copy(backend):
    found = asked(backend, method="grad_cam", smoothing="flips", target="predicted")
    every = asked(backend, method="grad_cam", smoothing="flips")
    chosen = np.take_along_axis(every.attribution, found.class_indices[:, :, None, None], axis=1)
    assert relative(found.attribution, chosen) < 1e-12


def test_smoothing_and_several_layers_go_together(backend):
    images = expectations.images(NAME).astype(np.float64)
    layers = ["conv2", "pool1"]
    found = asked(backend, method="grad_cam", layer=layers, smoothing="flips").attribution
    plain = asked(backend, method="grad_cam", layer=layers).attribution
    other = asked(backend, np.ascontiguousarray(images[..., ::-1]), method="grad_cam", layer=layers).attribution
    assert relative(found, (plain + other[..., ::-1]) / 2) < 1e-12


def test_targets_are_mirrored_or_refused(backend):
    assert asked(backend, method="gradient", smoothing="flips", target=Probability(0), activation="softmax").maps.any()
    function = FunctionOfOutput(lambda logits: logits[:, 0])
    with pytest.raises(NotApplicableError, match="a function of the output cannot be mirrored"):
        asked(backend, method="gradient", smoothing="flips", target=function)
    assert asked(backend, method="gradient", smoothing="scales", target=function).maps.any()
    with pytest.raises(SettingError, match="smoothing='blur' is unknown; choose one of flips, scales"):
        asked(backend, method="gradient", smoothing="blur", target=Classes(0))


def test_a_mask_is_mirrored_with_the_image():
    weights = np.random.default_rng(0).normal(size=(1, 1, 4, 6))
    mask = np.zeros((4, 6))
    mask[1, 0] = 1
    from xai_med import explain

    found = explain(
        lambda x: x * weights, np.ones((1, 1, 4, 6)), method="occlusion", patch=1, stride=1, target=Mask(0, mask),
        smoothing="flips",
    )  # fmt: skip
    expected = np.zeros((4, 6))
    expected[1, 0] = (weights[0, 0, 1, 0] + weights[0, 0, 1, 5]) / 2
    assert_allclose(found.maps[0, 0], expected, atol=1e-6)
