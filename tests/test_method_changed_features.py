"""Methods that change features and ask again: plain loops over the oracle, relations, refusals, and a peer."""

from dataclasses import replace
from itertools import product

import expectations
import numpy as np
import peers
import pytest
from numpy.testing import assert_allclose
from paper_networks import explained, network, pointwise, pooled

from xai_med import Classes, FunctionOfOutput, Mask, attribute
from xai_med.errors import LayerError, NotApplicableError, SettingError, TargetError
from xai_med.maps.resize import resize
from xai_med.principal import principal_map
from xai_med.registry import get_backend
from xai_med.testing import NETWORKS, check_method, example_input, oracle
from xai_med.testing.check_backend import relative
from xai_med.testing.network_layers import plain

PLACES = [("vgg_like", "pool1"), ("fully_connected_head", "pool1"), ("signal", "pool1"), ("volume", "pool2")]
ASKING = ("ablation_cam", "recipro_cam", "score_cam")
ALL = (*ASKING, "eigen_cam", "eigen_grad_cam")


def behind(name, layer):
    """The network from a layer on, which takes its features for images."""
    blueprint = NETWORKS[name]()
    names = [step.name for step in blueprint.steps]
    rest = blueprint.steps[names.index(layer) + 1 :]
    steps = tuple(replace(s, inputs=tuple("input" if i == layer else i for i in s.inputs)) for s in rest)
    return replace(blueprint, input_shape=expectations.values(name)[layer].shape[1:], steps=steps)


def scores_behind(name, layer, features):
    tail = behind(name, layer)
    return oracle.forward(tail, features)[oracle.logits_step(tail)]


@pytest.mark.parametrize(("name", "layer"), PLACES)
def test_ablation_cam_weighs_channels_by_what_the_oracle_loses_without_them(name, layer, backend):
    features, clean = expectations.values(name)[layer], expectations.logits(name)
    expected = np.zeros((*clean.shape, *features.shape[2:]))
    for n, k, c in product(*map(range, (*clean.shape, features.shape[1]))):
        without = features.copy()
        without[n, c] = 0
        expected[n, k] += (clean[n, k] - scores_behind(name, layer, without)[n, k]) * features[n, c]
    found = explained(
        backend, NETWORKS[name](), expectations.images(name), method="ablation_cam", layer=layer, relu=False
    )
    assert relative(found.attribution, expected) < 1e-11
    positive = explained(backend, NETWORKS[name](), expectations.images(name), method="ablation_cam", layer=layer)
    assert relative(positive.attribution, np.maximum(expected, 0)) < 1e-11


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize(("name", "layer"), PLACES)
def test_recipro_cam_is_what_the_oracle_says_of_each_place_alone(name, layer, gaussian, backend):
    features, clean = expectations.values(name)[layer], expectations.logits(name)
    nothing = scores_behind(name, layer, features * 0)
    expected = np.zeros((*clean.shape, *features.shape[2:]))
    for place in np.ndindex(*features.shape[2:]):
        kept = np.zeros(features.shape[2:])
        for other in np.ndindex(*features.shape[2:]):
            apart = np.abs(np.subtract(place, other))
            weight = np.prod([{0: 0.5, 1: 0.25}.get(int(each), 0) for each in apart])
            kept[other] = weight if gaussian else float(place == other)
        expected[(..., *place)] = scores_behind(name, layer, features * kept) - nothing
    found = explained(
        backend, NETWORKS[name](), expectations.images(name), method="recipro_cam", layer=layer, gaussian=gaussian
    )
    assert relative(found.attribution, expected) < 1e-11


@pytest.mark.parametrize(("name", "layer"), PLACES)
def test_score_cam_is_the_softmax_of_the_oracles_rises(name, layer, backend):
    blueprint, images = NETWORKS[name](), expectations.images(name).astype(np.float64)
    features, start = expectations.values(name)[layer], oracle.logits_step(blueprint)
    nothing = oracle.forward(blueprint, images * 0)[start]
    expected = np.zeros((*nothing.shape, *features.shape[2:]))
    for n in range(len(images)):
        living = [c for c in range(features.shape[1]) if np.ptp(features[n, c]) > 0]
        rises = []
        for c in living:
            mask = resize(features[n, c], images.shape[2:])
            mask = (mask - mask.min()) / np.ptp(mask)
            rises.append(oracle.forward(blueprint, images[n : n + 1] * mask)[start][0] - nothing[n])
        weights = np.exp(rises) / np.exp(rises).sum(axis=0)
        for k in range(nothing.shape[1]):
            expected[n, k] = sum(w * features[n, c] for w, c in zip(weights[:, k], living, strict=True))
    found = explained(backend, blueprint, images, method="score_cam", layer=layer, relu=False)
    assert relative(found.attribution, expected) < 1e-11


def test_worked_example_of_score_cams_weights(backend):
    """METHODS 3: softmax(3, 1) = (.880797, .119203); two channels whose own maps leave scores 3 and 1."""
    blueprint = pooled([[6.0, 2.0]], (2, 1, 2))
    images = np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    found = explained(backend, blueprint, images, method="score_cam", relu=False)
    assert_allclose(found.attribution[0, 0, 0], [0.880797, 0.119203], atol=1e-6)


def test_a_constant_channel_has_no_part_in_score_cam(backend):
    blueprint = pooled([[6.0, 2.0, 50.0]], (3, 1, 2))
    images = np.array([[[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 1.0]]]])
    found = explained(backend, blueprint, images, method="score_cam", relu=False)
    assert found.attribution[0, 0, 0].sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ["vgg_like", "resnet_like", "densenet_like", "signal", "volume"])
def test_behind_a_global_pool_recipro_cam_is_the_class_map_over_the_number_of_cells(name, backend):
    images = expectations.images(name)
    cam = explained(backend, NETWORKS[name](), images, method="cam").attribution
    found = explained(backend, NETWORKS[name](), images, method="recipro_cam").attribution
    assert relative(found, cam / cam[0, 0].size) < 1e-12


@pytest.mark.parametrize(("name", "layer"), PLACES)
def test_eigen_cam_is_the_first_term_of_the_features_decomposition(name, layer, backend):
    found = explained(backend, NETWORKS[name](), expectations.images(name), method="eigen_cam", layer=layer)
    features = expectations.values(name)[layer]
    for n, image in enumerate(features):
        flat = image.reshape(len(image), -1)
        direction = np.ones(len(image))
        for _ in range(5000):  # power iteration
            direction = flat @ (flat.T @ direction)
            direction /= np.linalg.norm(direction)
        expected = (direction @ flat).reshape(image.shape[1:])
        for k in range(found.attribution.shape[1]):
            assert relative(found.attribution[n, k], expected) < 1e-6
    assert (found.attribution >= -1e-12).all()  # behind a ReLU
    assert "the same for every class" in found.check("class_independent").note


@pytest.mark.parametrize("centred", [False, True])
def test_eigen_grad_cam_is_the_first_term_of_the_products_decomposition(centred, backend):
    name, layer = "vgg_like", "pool1"
    blueprint, images = NETWORKS[name](), expectations.images(name)
    found = explained(backend, blueprint, images, method="eigen_grad_cam", layer=layer, centred=centred)
    start, features = oracle.logits_step(blueprint), expectations.values(name)[layer]
    for k in range(3):
        cotangent = np.zeros_like(expectations.logits(name))
        cotangent[:, k] = 1
        slopes = oracle.vector_jacobian(blueprint, images, of=start, cotangent=cotangent, to=layer)
        for n, product_ in enumerate(features * slopes):
            flat = product_.reshape(len(product_), -1).T
            flat = flat - flat.mean(axis=0) * centred
            values, vectors = np.linalg.eigh(flat.T @ flat)
            expected = (flat @ vectors[:, values.argmax()]).reshape(product_.shape[1:])
            total = product_.sum(axis=0)
            sign = np.sign((expected * (total - total.mean() * centred)).sum())
            assert relative(found.attribution[n, k], sign * expected) < 1e-9


def test_a_pattern_without_a_sign_or_without_a_rival_is_refused():
    with pytest.raises(LayerError, match="two patterns in the features are equally strong"):
        principal_map(np.eye(2).reshape(2, 1, 2), centred=False, like=np.ones((1, 2)))
    with pytest.raises(LayerError, match="sign of the strongest pattern is not determined"):
        principal_map(np.array([[[1.0, -1.0]]]), centred=False, like=np.ones((1, 2)))
    assert not principal_map(np.zeros((2, 3)), centred=False, like=np.zeros(3)).any()


def test_grad_cam_library_finds_the_same():
    backend, images = get_backend("torch"), expectations.images("vgg_like").astype(np.float64)
    model = backend.build(NETWORKS["vgg_like"](), dtype="float64")
    for method, theirs, settings, tolerance in (
        ("eigen_grad_cam", "EigenGradCAM", {"relu": False}, 1e-6),
        ("eigen_cam", "EigenCAM", {"centred": True}, 1e-6),
    ):
        ours = explained(backend, NETWORKS["vgg_like"](), images, method=method, layer="pool1", **settings)
        expected = peers.grad_cam_relative_signed(theirs, model, "pool1", images, 1)
        for found, one in zip(ours.attribution[:, 1], expected, strict=True):
            assert min(relative(found, one), relative(found, -one)) < tolerance  # they leave the sign to chance


@pytest.mark.parametrize("method", ALL)
def test_contract_of_methods(method):
    assert check_method(method).between_frameworks < 1e-12


@pytest.mark.parametrize("method", ALL)
def test_double_precision_finds_nothing_wrong(method, backend):
    blueprint, images = NETWORKS["vgg_like"](), expectations.images("vgg_like")
    found = explained(backend, blueprint, images, method=method, verify=True)
    assert found.check("recomputed").passed
    assert found.check("plain_forward").passed


@pytest.mark.parametrize("batch_size", [1, 2, 7])
@pytest.mark.parametrize("method", ASKING)
def test_how_many_are_asked_at_once_changes_nothing(method, batch_size, backend):
    images = expectations.images("vgg_like")
    known = explained(backend, NETWORKS["vgg_like"](), images, method=method, layer="pool1").attribution
    found = explained(
        backend, NETWORKS["vgg_like"](), images, method=method, layer="pool1", batch_size=batch_size
    ).attribution
    assert relative(found, known) < 1e-12


@pytest.mark.parametrize("method", ASKING)
def test_any_function_of_the_output_can_be_asked(method, backend):
    target = FunctionOfOutput(lambda logits: logits[:, 0] * logits[:, 1])
    found = explained(
        backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method=method, target=target, layer="pool1"
    )
    logits = expectations.logits("vgg_like")
    assert_allclose(found.scores[:, 0], logits[:, 0] * logits[:, 1], rtol=1e-9)


@pytest.mark.parametrize("method", ASKING)
def test_a_batch_size_below_one_is_refused(method, backend):
    with pytest.raises(SettingError, match="batch_size is a number of images, at least 1, got 0"):
        explained(backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method=method, batch_size=0)


@pytest.mark.parametrize("method", ALL)
def test_no_graph_is_kept(method, backend):
    blueprint = NETWORKS["vgg_like"]()
    with pytest.raises(NotApplicableError, match=r"no gradient that could be kept|keeps no graph"):
        attribute(backend.build(blueprint), example_input(blueprint), method=method, target=0, differentiable=True)


# ---- Seg-Grad-CAM


def segmentation():
    """Two classes per pixel: a pointwise encoder, a ReLU, a pointwise head."""
    return network(
        pointwise("encoder", "input", [[1.0, -0.5], [0.3, 1.0], [-1.0, 0.7]]),
        plain("relu", "relu", "encoder"),
        pointwise("head", "relu", [[1.0, -1.0, 0.5], [-0.4, 0.8, 0.2]], [0.1, 0.0]),
        shape=(2, 4, 5),
    )


def seg_oracle(blueprint, images, index, masks):
    values = oracle.forward(blueprint, images)
    weights = np.array([[1.0, -1.0, 0.5], [-0.4, 0.8, 0.2]])[index]
    slopes = weights[None, :, None, None] * masks[:, None]
    return np.maximum((slopes.mean(axis=(2, 3), keepdims=True) * values["relu"]).sum(axis=1), 0)


def test_seg_grad_cam_of_a_class_sums_over_its_predicted_pixels(backend):
    blueprint = segmentation()
    images = example_input(blueprint, 2, 3).astype(np.float64)
    found = explained(backend, blueprint, images, method="seg_grad_cam", target=Classes(0, 1), layer="relu")
    chosen = oracle.forward(blueprint, images)["head"].argmax(axis=1)
    for k in range(2):
        expected = seg_oracle(blueprint, images, k, (chosen == k).astype(float))
        assert relative(found.attribution[:, k], expected) < 1e-12


def test_seg_grad_cam_of_a_mask_sums_over_the_mask(backend, rng):
    blueprint = segmentation()
    images = example_input(blueprint, 2, 3).astype(np.float64)
    mask = rng.integers(0, 2, size=(4, 5)).astype(float)
    found = explained(backend, blueprint, images, method="seg_grad_cam", target=Mask(1, mask), layer="relu")
    assert relative(found.attribution[:, 0], seg_oracle(blueprint, images, 1, np.stack([mask, mask]))) < 1e-12


def test_seg_grad_cam_refuses_what_it_cannot_know(backend):
    blueprint = segmentation()
    images = example_input(blueprint, 2, 3)
    with pytest.raises(LayerError, match="seg_grad_cam needs layer=, such as the last layer of the encoder"):
        explained(backend, blueprint, images, method="seg_grad_cam", target=0)
    with pytest.raises(TargetError, match="give target="):
        explained(backend, blueprint, images, method="seg_grad_cam", target="predicted", layer="relu")
    with pytest.raises(TargetError, match="is predicted for no pixel"):
        explained(backend, blueprint, images * 0, method="seg_grad_cam", target=Classes(1), layer="relu")
    with pytest.raises(TargetError, match="needs a model with one value per pixel"):
        explained(
            backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method="seg_grad_cam",
            target=Classes(0), layer="relu1",
        )  # fmt: skip
