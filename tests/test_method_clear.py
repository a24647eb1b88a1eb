"""CLEAR against back-projected class maps, its own checks (METHODS 5.2, i to vi), settings, refusals."""

import expectations
import numpy as np
import pytest
from numpy.testing import assert_allclose
from paper_networks import dense, explained, network, pixel, pointwise, pooled

from xai_med import Classes, Probability, explain
from xai_med.blueprints.weights import weights_of, with_weights
from xai_med.errors import NotApplicableError, SettingError, TargetError, UnknownNameError
from xai_med.maps.resize import resize
from xai_med.render.clear import clear_picture
from xai_med.testing import NETWORKS, example_input, oracle
from xai_med.testing.check_backend import relative
from xai_med.testing.network_layers import plain

WITH_RELU = sorted(set(NETWORKS) - {"smooth"})
IMAGE = np.array([[1, 2, 0, -1], [0, 3, -2, 0], [-1, 0, 1, 0], [0, -4, 2, 1]], dtype=float)[None, None]


def worked_example():
    """METHODS 5.3."""
    return network(
        pointwise("conv", "input", [[1], [-1]]),
        plain("relu", "relu", "conv"),
        plain("pooled", "max_pool", "relu", kernel=2, stride=2),
        plain("pool", "global_average_pool", "pooled", style="mean"),
        dense("head", "pool", [[1, 0], [0.5, 1]]),
        shape=(1, 4, 4),
    )


def filled(**cells):
    """A 4 x 4 map that is zero but for cells ``r1c2=...``."""
    array = np.zeros((4, 4))
    for place, value in cells.items():
        array[int(place[1]), int(place[3])] = value
    return array


# ---- every network


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_class_maps_are_pulled_back(name, backend):
    blueprint = NETWORKS[name]()
    found = explained(backend, blueprint, expectations.images(name), method="clear")
    assert relative(found.attribution, expectations.back_projections(name)) < 1e-12
    assert found.maps.shape == (*found.scores.shape, *blueprint.input_shape[1:])
    assert found.extras["dominant_class"].shape == (len(found), *blueprint.input_shape[1:])


@pytest.mark.parametrize("relu", ["identity", "deconv", "guided"])
@pytest.mark.parametrize("name", WITH_RELU)
def test_each_relu_rule(name, relu, backend):
    found = explained(backend, NETWORKS[name](), expectations.images(name), method="clear", relu=relu, psi="id")
    expected = expectations.back_projections(name, relu=relu, psi="id")
    assert relative(found.attribution, expected) < 1e-12
    assert f"ReLU: {relu}" in found.rules


@pytest.mark.parametrize("name", ["vgg_like", "resnet_like", "densenet_like", "forked"])
def test_relu_rules_differ_from_each_other(name):
    rules = ("mask", "identity", "deconv", "guided")
    found = [expectations.back_projections(name, relu=relu, psi="id") for relu in rules]
    assert all(relative(a, b) > 1e-3 for k, a in enumerate(found) for b in found[:k])


@pytest.mark.parametrize("name", ["vgg_like", "resnet_like", "densenet_like", "fully_connected_head"])
def test_psi_chooses_what_is_pulled_back(name, backend):
    found = explained(backend, NETWORKS[name](), expectations.images(name), method="clear", psi="id")
    expected = expectations.back_projections(name, psi="id")
    assert relative(found.attribution, expected) < 1e-12
    assert relative(expectations.back_projections(name), expected) > 1e-3


@pytest.mark.parametrize("response", ["abs", "signed", "relu"])
@pytest.mark.parametrize("channels", ["sum", "l2"])
@pytest.mark.parametrize("calibrate", ["none", "per_class_max", "sigmoid"])
@pytest.mark.parametrize("name", ["densenet_like", "signal", "volume"])
def test_responses_channels_and_calibration(name, response, channels, calibrate, backend):
    asked = {"response": response, "channels": channels, "calibrate": calibrate, "psi": "id"}
    found = explained(backend, NETWORKS[name](), expectations.images(name), method="clear", **asked)
    arrived = expectations.back_projections(name, psi="id")
    signal = arrived.sum(axis=2) if channels == "sum" else np.sqrt((arrived**2).sum(axis=2))
    signal = {"abs": np.abs, "signed": np.asarray, "relu": lambda s: np.maximum(s, 0)}[response](signal)
    space = tuple(range(2, signal.ndim))
    if calibrate == "sigmoid":
        signal = signal / (1 + np.exp(-expectations.logits(name).reshape(signal.shape[:2] + (1,) * len(space))))
    if calibrate == "per_class_max":
        largest = np.abs(signal).max(axis=space, keepdims=True)
        signal = signal / np.where(largest == 0, 1, largest)
    assert_allclose(found.maps, signal, rtol=0, atol=1e-6 * np.abs(signal).max())
    assert found.settings["calibrate"] == calibrate
    largest = signal.max(axis=1)
    expected_class = np.where(largest > 0, signal.argmax(axis=1), -1)
    clear_cut = np.abs(largest) > 1e-9 * np.abs(signal).max()
    assert_allclose(found.extras["dominant_class"][clear_cut], expected_class[clear_cut])
    assert_allclose(found.extras["dominant_response"], np.maximum(largest, 0), rtol=0, atol=1e-9 * np.ptp(signal))


# ---- METHODS 5.3


def test_worked_example_masked(backend):
    found = explained(backend, worked_example(), IMAGE, method="clear")
    assert_allclose(found.scores, [[1.25, 2.125]], atol=1e-12)
    assert_allclose(found.attribution[0, 0, 0], filled(r1c1=3, r3c2=2), atol=1e-12)
    assert_allclose(found.attribution[0, 1, 0], filled(r1c1=0.75, r1c2=-2, r3c1=-4, r3c2=0.5), atol=1e-12)
    expected = np.full((4, 4), -1)
    expected[1, 1], expected[3, 2], expected[1, 2], expected[3, 1] = 0, 0, 1, 1
    assert found.extras["dominant_class"][0].tolist() == expected.tolist()
    assert_allclose(found.extras["dominant_response"][0], filled(r1c1=3, r3c2=2, r1c2=2, r3c1=4), atol=1e-12)


def test_worked_example_signed_lets_the_winning_class_vanish(backend):
    found = explained(backend, worked_example(), IMAGE, method="clear", response="signed")
    assert set(np.unique(found.extras["dominant_class"])) == {-1, 0}
    assert_allclose(found.extras["dominant_response"].max(), 3, atol=1e-12)


def test_worked_example_as_printed_adds_mass_where_windows_were_off(backend):
    found = explained(backend, worked_example(), IMAGE, method="clear", relu="identity")
    expected = filled(r1c1=0.75, r1c2=-2, r3c1=-4, r3c2=0.5, r0c0=-1.5, r0c2=1, r2c0=2, r2c2=-1)
    assert_allclose(found.attribution[0, 1, 0], expected, atol=1e-12)


def test_worked_example_in_colours(backend):
    pytest.importorskip("matplotlib")
    found = explained(backend, worked_example(), IMAGE, method="clear")
    picture = clear_picture(
        found.extras["dominant_class"][0], found.extras["dominant_response"][0], number_of_classes=2
    )
    assert_allclose(picture[1, 1], [0.75, 0, 0], atol=1e-9)
    assert_allclose(picture[3, 1], [0, 1, 1], atol=1e-9)
    assert_allclose(picture[0, 0], [0, 0, 0])


@pytest.mark.parametrize(("psi", "expected"), [("id", [1, 1]), ("relu", [1, 0])])
def test_rejected_class_looks_present_unless_psi_is_relu(psi, expected, backend):
    found = explained(backend, pooled([[1], [-1]], (1, 1, 1)), pixel(1), method="clear", psi=psi)
    assert_allclose(found.attribution.ravel(), expected, atol=1e-12)


def test_threshold_is_a_share_of_the_largest_response(backend):
    low, high = (
        explained(backend, worked_example(), IMAGE, method="clear", threshold=threshold).extras["dominant_class"][0]
        for threshold in (0.49, 0.5)  # responses 2 and 3 beside the largest, 4
    )
    assert (low >= 0).sum() == 4
    assert (high >= 0).sum() == 2
    assert high[1, 2] == -1


def test_ties_go_to_the_lowest_class_and_are_counted(backend):
    found = explained(backend, pooled([[1], [1]], (1, 1, 2)), np.ones((1, 1, 1, 2)), method="clear")
    assert (found.extras["dominant_class"] == 0).all()
    assert {check.name: check.value for check in found.checks}["cells with tied classes"] == 2


def test_nothing_responds_where_no_class_is_present(backend):
    found = explained(backend, pooled([[-1], [-2]], (1, 1, 2)), np.ones((1, 1, 1, 2)), method="clear")
    assert (found.extras["dominant_class"] == -1).all()
    assert (found.extras["dominant_response"] == 0).all()
    assert {check.name: check.value for check in found.checks}["cells without a class"] == 2


# ---- METHODS 5.2, checks (i) to (vi)


@pytest.mark.parametrize("name", ["vgg_like", "densenet_like", "smooth", "signal"])
def test_i_it_is_half_the_gradient_of_the_squared_class_map(name, backend):
    blueprint = NETWORKS[name]()
    image = example_input(blueprint, 1, 7).astype(np.float64)
    found = explained(backend, blueprint, image, method="clear", psi="id").attribution[0]
    step = 1e-6
    generator = np.random.default_rng(0)
    for _ in range(3):
        direction = generator.normal(size=image.shape)
        ends = np.concatenate([image + step * direction, image - step * direction])
        features, weights, _ = oracle.class_maps(blueprint, ends)
        halves = 0.5 * (np.einsum("nc...,kc->nk...", features, weights) ** 2).reshape(2, len(weights), -1).sum(axis=2)
        slope = (halves[0] - halves[1]) / (2 * step)
        assert_allclose((found * direction).reshape(len(slope), -1).sum(axis=1), slope, rtol=1e-5)


def test_ii_one_class_dominates_wherever_it_responds(backend):
    found = explained(
        backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method="clear", target=1, psi="id"
    )
    responds = found.maps[:, 0] > 0
    assert responds.any()
    assert_allclose(found.extras["dominant_class"], np.where(responds, 0, -1))


def test_iii_permuted_classes_permute_the_dominant_class(backend):
    name = "densenet_like"
    order = [2, 0, 3, 1]
    plainly, permuted = (
        explained(backend, NETWORKS[name](), expectations.images(name), method="clear", target=target)
        for target in ("all", Classes(*order))
    )
    assert relative(permuted.attribution, plainly.attribution[:, order]) < 1e-13
    dominant = permuted.extras["dominant_class"]
    translated = np.where(dominant < 0, -1, np.array(order)[dominant])
    assert (translated == plainly.extras["dominant_class"]).all()


def test_iv_larger_head_weights_change_the_size_and_not_the_picture(backend):
    blueprint = NETWORKS["vgg_like"]()
    arrays = {name: np.array(array) for name, array in weights_of(blueprint).items()}
    arrays["classifier.weight"] *= 3
    images = expectations.images("vgg_like")
    before = explained(backend, blueprint, images, method="clear")
    after = explained(backend, with_weights(blueprint, arrays), images, method="clear")
    assert relative(after.attribution, 9 * before.attribution) < 1e-13
    assert (after.extras["dominant_class"] == before.extras["dominant_class"]).all()


@pytest.mark.parametrize(("name", "bias"), [("vgg_like", "classifier.bias"), ("class_kernels", "classes.bias")])
def test_v_bias_of_the_head_has_no_effect(name, bias, backend):
    blueprint = NETWORKS[name]()
    arrays = {name: np.array(array) for name, array in weights_of(blueprint).items()}
    arrays[bias] += np.arange(1, len(arrays[bias]) + 1)
    images = expectations.images(name)
    before, after = (
        explained(backend, each, images, method="clear") for each in (blueprint, with_weights(blueprint, arrays))
    )
    assert np.abs(after.scores - before.scores).min() > 0.5
    assert relative(after.attribution, before.attribution) < 1e-12


def test_vi_class_kernels_of_size_one_are_a_pool_and_a_linear_head(backend):
    weight, bias = [[1.0, -0.5], [0.5, 2.0], [-1.0, 1.0]], [0.3, -0.2, 0.1]
    body = (
        pointwise("conv", "input", [[1, -1], [-1, 2]]),
        plain("relu", "relu", "conv"),
    )
    kernels = network(
        *body,
        pointwise("classes", "relu", weight, bias),
        plain("pool", "global_average_pool", "classes", style="mean"),
        shape=(2, 4, 3),
    )
    linear = network(
        *body,
        plain("pool", "global_average_pool", "relu", style="mean"),
        dense("head", "pool", weight, bias),
        shape=(2, 4, 3),
    )
    images = example_input(kernels, 3)
    first, second = (explained(backend, each, images, method="clear") for each in (kernels, linear))
    assert_allclose(first.scores, second.scores, rtol=0, atol=1e-12)
    assert relative(first.attribution, second.attribution) < 1e-12
    assert (first.extras["dominant_class"] == second.extras["dominant_class"]).all()


# ---- what is refused


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"relu": "leaky"}, "relu='leaky' is unknown; choose one of mask, identity, deconv, guided"),
        ({"response": "square"}, "response='square' is unknown; choose one of abs, signed, relu"),
        ({"psi": "abs"}, "psi='abs' is unknown; choose one of relu, id"),
        ({"calibrate": "softmax"}, "calibrate='softmax' is unknown; choose one of none, per_class_max, sigmoid"),
        ({"channels": "max"}, "channels='max' is unknown; choose one of sum, l2"),
        ({"threshold": 1.0}, "threshold is a share from 0 to below 1, got 1.0"),
        ({"threshold": -0.1}, "threshold is a share from 0 to below 1, got -0.1"),
        ({"layer": "relu1"}, "clear is taken at the input and has no layer"),
        ({"colour": "red"}, "method 'clear' has no setting 'colour'; it has relu, response, psi"),
    ],
)
def test_impossible_settings_are_refused(asked, message, backend):
    blueprint = NETWORKS["convolution_head"]()
    with pytest.raises(SettingError, match=message):
        explained(backend, blueprint, example_input(blueprint), method="clear", **asked)


def test_relu_rule_without_a_relu_is_refused(backend):
    blueprint = network(
        pointwise("conv", "input", [[1]]),
        plain("pool", "global_average_pool", "conv", style="mean"),
        dense("head", "pool", [[1], [2]]),
        shape=(1, 2, 2),
    )
    with pytest.raises(NotApplicableError, match=r"acts on ReLUs and the model has none .*; use relu='mask'"):
        explained(backend, blueprint, np.ones((1, 1, 2, 2)), method="clear", relu="guided")


def test_relu_rule_on_another_activation_is_refused(backend):
    blueprint = NETWORKS["smooth"]()
    with pytest.raises(NotImplementedError, match="'ReLU guided' have none for activation"):
        explained(backend, blueprint, example_input(blueprint), method="clear", relu="guided")


def test_probability_is_refused(backend):
    blueprint = NETWORKS["softmax_output"]()
    with pytest.raises(NotApplicableError, match="clear explains a logit"):
        explained(backend, blueprint, example_input(blueprint), method="clear", target=Probability(1))


def test_hundreds_of_classes_are_not_compared_unasked(backend):
    blueprint = pooled(np.ones((21, 1)), (1, 2, 2))
    with pytest.raises(TargetError, match=r"21 classes; name the ones to compare with target=Classes\(...\)"):
        explained(backend, blueprint, np.ones((1, 1, 2, 2)), method="clear", target=None)
    assert explained(backend, blueprint, np.ones((1, 1, 2, 2)), method="clear").maps.shape == (1, 21, 2, 2)


def test_a_network_without_class_maps_says_that_logits_take_their_place(backend):
    blueprint = NETWORKS["fully_connected_head"]()
    found = explain(backend.build(blueprint), example_input(blueprint), method="clear")
    (check,) = [check for check in found.checks if "for want of class maps" in check.name]
    assert "no global average pool" in check.note
    assert "pulled back from: logits" in found.rules
    blueprint = NETWORKS["vgg_like"]()
    found = explain(backend.build(blueprint), example_input(blueprint), method="clear")
    assert not [check for check in found.checks if "for want of class maps" in check.name]


# ---- any response


@pytest.mark.parametrize("of", ["gradient", "lrp", "grad_cam", "occlusion", "cam"])
def test_the_dominant_class_of_any_per_class_method(of, backend):
    images = expectations.images("vgg_like").astype(np.float64)
    single = explained(backend, NETWORKS["vgg_like"](), images, method=of)
    found = explained(backend, NETWORKS["vgg_like"](), images, method="clear", of=of, response="relu")
    resized = resize(np.maximum(single.attribution if of in ("grad_cam", "cam") else single.maps, 0), images.shape[2:])
    expected, strongest = resized.argmax(axis=1), resized.max(axis=1)
    expected[strongest <= 0] = -1
    assert (found.extras["dominant_class"] == expected).mean() > 0.999  # float32 maps may tie where float64 do not
    assert_allclose(found.extras["dominant_response"], np.maximum(strongest, 0), rtol=1e-5, atol=1e-9)
    assert found.rules[0] == f"responses of: {of}"


def test_a_response_of_another_method_has_its_own_settings(backend):
    images = expectations.images("vgg_like")
    found = explained(
        backend, NETWORKS["vgg_like"](), images, method="clear", of="lrp", of_settings={"composite": "epsilon"}
    )
    single = explained(backend, NETWORKS["vgg_like"](), images, method="lrp", composite="epsilon")
    assert_allclose(found.maps, np.abs(single.maps), rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"of": "clear"}, NotApplicableError, "'clear' compares classes itself"),
        ({"of": "lrp", "psi": "id"}, SettingError, "psi= is of CLEAR's own responses and has no effect with of='lrp'"),
        ({"of_settings": {"epsilon": 1.0}}, SettingError, "of_settings are of the method named by of="),
        ({"of": "lrq"}, UnknownNameError, "there is no method 'lrq'"),
    ],
)
def test_other_responses_are_refused_where_they_make_no_sense(settings, error, message, backend):
    with pytest.raises(error, match=message):
        explained(backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method="clear", **settings)
