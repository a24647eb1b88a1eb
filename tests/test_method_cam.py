"""CAM against the oracle, on paper, and where it does not exist."""

import expectations
import numpy as np
import pytest
from numpy.testing import assert_allclose
from paper_networks import explained, network, pixel, pointwise, pooled

import xai_med
from xai_med import Contrast, Probability
from xai_med.errors import IdentityError, LayerError, NotApplicableError, SettingError
from xai_med.maps.normalise import divide_by_max, min_max
from xai_med.testing import NETWORKS, example_input, oracle
from xai_med.testing.check_backend import relative
from xai_med.testing.network_layers import plain

WITHOUT_MAPS = {
    "fully_connected_head": "no global average pool, and a hidden layer",
    "hidden_layer_head": "a hidden layer stands between the pool and the output",
    "max_pool_head": "the model pools by maximum",
}
WITH_MAPS = sorted(set(NETWORKS) - set(WITHOUT_MAPS))
FEATURES = np.array([[[[1, 0], [2, 1]], [[0, 3], [1, 0]]]], dtype=float)  # METHODS 1
WEIGHTS = [[1, -1], [0.5, 2]]
MAPS = np.array([[[1, -3], [1, 1]], [[0.5, 6], [3, 0.5]]])


@pytest.mark.parametrize("name", WITH_MAPS)
def test_maps_are_the_features_weighed_by_the_head(name, backend):
    blueprint = NETWORKS[name]()
    found = explained(backend, blueprint, expectations.images(name), method="cam")
    assert relative(found.attribution, expectations.class_maps(name)) < 1e-12
    assert found.maps.shape == (*found.scores.shape, *blueprint.input_shape[1:])


@pytest.mark.parametrize("name", WITH_MAPS)
def test_mean_over_space_and_bias_is_the_logit(name, backend):
    blueprint = NETWORKS[name]()
    images = expectations.images(name)
    bias = oracle.class_maps(blueprint, images)[2]
    found = explained(backend, blueprint, images, method="cam")
    means = found.attribution.reshape(*found.scores.shape, -1).mean(axis=2)
    logits = expectations.logits(name).reshape(found.scores.shape)
    assert_allclose(means + bias, logits, rtol=0, atol=1e-12)
    assert_allclose(found.scores, logits, rtol=0, atol=1e-12)
    identity = found.checks[0]
    assert identity.name.startswith("CAM identity")
    assert identity.passed


def test_worked_example(backend):
    found = explained(backend, pooled(WEIGHTS, (2, 2, 2)), FEATURES, method="cam")
    assert_allclose(found.attribution[0], MAPS, atol=1e-12)
    assert_allclose(found.maps[0], MAPS, atol=1e-6)
    assert_allclose(found.scores, [[0, 2.5]], atol=1e-12)
    assert found.layer == "features"


def test_worked_example_normalised(backend):
    found = explained(backend, pooled(WEIGHTS, (2, 2, 2)), FEATURES, method="cam", target=1)
    assert_allclose(min_max(found.attribution, 2).values[0, 0], [[0, 1], [5 / 11, 0]], atol=1e-12)
    positive = np.maximum(found.attribution, 0)
    assert_allclose(divide_by_max(positive, 2).values[0, 0], [[1 / 12, 1], [0.5, 1 / 12]], atol=1e-12)


def test_bias_of_the_head_is_in_the_score_and_not_in_the_map(backend):
    found = explained(backend, pooled(WEIGHTS, (2, 2, 2), bias=[10, -10]), FEATURES, method="cam")
    assert_allclose(found.attribution[0], MAPS, atol=1e-12)
    assert_allclose(found.scores, [[10, -7.5]], atol=1e-12)


def test_features_are_those_behind_the_last_relu(backend):
    found = explained(backend, pooled([[1, 1]], (2, 1, 1)), pixel(-1, 2), method="cam")
    assert_allclose(found.attribution.ravel(), [2], atol=1e-12)  # 1 where features before the ReLU are taken


@pytest.mark.parametrize(
    ("cells", "size", "expected"),
    [
        ([0, 1], 4, [0, 0.25, 0.75, 1]),
        ([0, 1, 0], 6, [0, 0.25, 0.75, 0.75, 0.25, 0]),  # the peak falls: resize first, normalise then
    ],
)
def test_maps_are_resized_linearly_between_the_centres_of_cells(cells, size, expected, backend):
    blueprint = network(
        pointwise("every_second", "input", [[1]], space=1, stride=size // len(cells)),
        plain("features", "relu", "every_second"),
        plain("pool", "global_average_pool", "features", style="mean"),
        *pooled([[1]], (1, 1)).steps[-1:],
        shape=(1, size),
    )
    image = np.repeat(np.array(cells, dtype=float), size // len(cells))[None, None]
    found = explained(backend, blueprint, image, method="cam")
    assert_allclose(found.attribution[0, 0], cells, atol=1e-12)
    assert_allclose(found.maps[0, 0], expected, atol=1e-6)


def test_map_of_a_contrast_is_the_difference_of_two_maps(backend):
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint)
    both = explained(backend, blueprint, images, method="cam").attribution
    found = explained(backend, blueprint, images, method="cam", target=Contrast(2, 0))
    assert_allclose(found.attribution[:, 0], both[:, 2] - both[:, 0], rtol=0, atol=1e-12)


def test_each_image_may_have_its_own_class(backend):
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint)
    both = explained(backend, blueprint, images, method="cam").attribution
    found = explained(backend, blueprint, images, method="cam", target=[2, 1])
    assert_allclose(found.attribution[:, 0], np.stack([both[0, 2], both[1, 1]]), rtol=0, atol=1e-12)


def test_negative_answer_of_a_single_logit_has_the_opposite_map(backend):
    blueprint = NETWORKS["single_logit"]()
    images = example_input(blueprint)
    yes, no = (
        explained(backend, blueprint, images, method="cam", target=target).attribution
        for target in ("positive", "negative")
    )
    assert np.abs(yes).max() > 0
    assert_allclose(no, -yes, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["sigmoid_output", "softmax_output"])
def test_map_of_a_squashed_model_is_that_of_its_logits(name, backend):
    bare = NETWORKS["vgg_like"]()
    images = example_input(bare)
    expected = explained(backend, bare, images, method="cam")
    found = explained(backend, NETWORKS[name](), images, method="cam")
    assert_allclose(found.attribution, expected.attribution, rtol=0, atol=1e-14)
    assert found.activation == name.removesuffix("_output")


def test_layer_that_enters_the_pool_may_be_named(backend):
    blueprint = NETWORKS["signal"]()
    images = example_input(blueprint)
    named = explained(backend, blueprint, images, method="cam", layer="pool2")
    assert_allclose(named.attribution, explained(backend, blueprint, images, method="cam").attribution, rtol=0, atol=0)
    assert named.layer == "pool2"


def test_another_layer_is_refused(backend):
    blueprint = NETWORKS["signal"]()
    with pytest.raises(LayerError, match=r"layer 'pool1' is not what enters the global pool .*'pool2'"):
        explained(backend, blueprint, example_input(blueprint), method="cam", layer="pool1")


@pytest.mark.parametrize("name", sorted(WITHOUT_MAPS))
def test_another_head_is_refused(name, backend):
    blueprint = NETWORKS[name]()
    with pytest.raises(NotApplicableError, match=f"{WITHOUT_MAPS[name]}.*use method='grad_cam'"):
        explained(backend, blueprint, example_input(blueprint), method="cam")


def test_probability_has_no_class_activation_map(backend):
    blueprint = NETWORKS["softmax_output"]()
    with pytest.raises(NotApplicableError, match=r"cam explains a logit .* not 'probability of class 1'"):
        explained(backend, blueprint, example_input(blueprint), method="cam", target=Probability(1))


def test_unknown_setting_is_refused(backend):
    blueprint = NETWORKS["vgg_like"]()
    with pytest.raises(SettingError, match="method 'cam' has no setting 'relu'; it has"):
        explained(backend, blueprint, example_input(blueprint), method="cam", relu=True)


def test_map_that_does_not_add_up_to_the_logit_is_refused():
    torch = pytest.importorskip("torch")

    class Hidden(torch.nn.Module):
        """Adds to the logits through memory that no tracer sees."""

        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(1, 2, 1)
            self.head = torch.nn.Linear(2, 2)

        def forward(self, x):
            logits = self.head(self.conv(x).mean((2, 3)))
            logits.detach().numpy()[...] += 1
            return logits

    with pytest.raises(IdentityError, match="does not add up to the logit"):
        xai_med.explain(Hidden(), np.ones((1, 1, 3, 3), np.float32), method="cam", target=0)
