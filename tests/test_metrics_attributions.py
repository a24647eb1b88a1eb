"""Does an attribution say what the score does: linear models, slow oracles, what is undefined and what is refused."""

import math

import numpy as np
import pytest
from answers import SPACES, bumpy, counted, example, linear, recorded
from hypothesis import given, settings
from hypothesis import strategies as st

from xai_med.errors import SettingError, ShapeError
from xai_med.maps.normalise import min_max
from xai_med.metrics import (
    GaussianNoise,
    RemovedSquare,
    completeness,
    confidence_drop,
    infidelity,
    mean_with_interval,
    sensitivity_n,
)


def linear_case(seed, space=(4, 5), channels=2):
    random = np.random.default_rng(seed)
    weights, image = random.normal(size=(2, channels, *space))
    return weights, image


# sensitivity-n


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 19), bias=st.floats(-5, 5))
def test_shares_of_a_linear_score_correlate_perfectly_at_every_n(seed, n, bias):
    weights, image = linear_case(seed)
    found = sensitivity_n(linear(weights, bias), image, (weights * image).sum(axis=0), n=n, subsets=20, seed=seed)
    assert found.correlation == pytest.approx(1)
    np.testing.assert_allclose(found.sums, found.drops, atol=1e-9)


def test_the_negative_attribution_correlates_as_badly_as_can_be():
    weights, image = linear_case(0)
    found = sensitivity_n(linear(weights), image, -(weights * image).sum(axis=0), n=1)
    assert found.correlation == pytest.approx(-1)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_sums_and_drops_are_those_of_each_set(space):
    """Sets are read off the images that the model was asked about."""
    image, values = example(space)
    answer, seen = recorded(bumpy)
    found = sensitivity_n(answer, image, values, n=4, subsets=9, fill=2.5)
    sets = [(each == 2.5).all(axis=0) for each in seen[1:]]
    assert [each.sum() for each in sets] == [4] * 9
    assert len({each.tobytes() for each in sets}) > 5
    sums = [sum(values[place] for place in np.ndindex(space) if each[place]) for each in sets]
    drops = [bumpy(image[None])[0] - bumpy(np.where(each, 2.5, image)[None])[0] for each in sets]
    np.testing.assert_allclose(found.sums, sums)
    np.testing.assert_allclose(found.drops, drops, atol=1e-6)
    centred = [np.subtract(each, np.mean(each)) for each in (sums, drops)]
    by_hand = (centred[0] * centred[1]).sum() / math.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    assert found.correlation == pytest.approx(by_hand, abs=1e-6)
    assert (found.n, found.fill, found.seed) == (4, "2.5", 0)


def test_a_correlation_without_spread_is_not_a_number():
    weights, image = linear_case(0)
    assert math.isnan(sensitivity_n(lambda x: np.full(len(x), 0.7), image, image[0], n=3).correlation)
    assert math.isnan(sensitivity_n(linear(weights), image, np.full((4, 5), 0.1), n=3).correlation)


def test_rounding_of_the_model_is_no_spread():
    """Scores of a model in float32 that does not look at the image."""
    image = example((6, 7))[0]
    random = np.random.default_rng(0)

    def noise(images):
        return (np.float32(5) * (1 + 1e-7 * random.normal(size=len(images)))).astype(np.float32)

    assert math.isnan(sensitivity_n(noise, image, image[0], n=3).correlation)


def test_sets_that_cannot_be_drawn_are_refused():
    weights, image = linear_case(0)
    for n, match in ((0, "n is a whole number"), (20, "the image has 20 pixels"), (2.0, "n is a whole number")):
        with pytest.raises(SettingError, match=match):
            sensitivity_n(linear(weights), image, image[0], n=n)
    with pytest.raises(SettingError, match="at least 3"):
        sensitivity_n(linear(weights), image, image[0], n=1, subsets=2)
    with pytest.raises(ShapeError, match="the attribution is"):
        sensitivity_n(linear(weights), image, image, n=1)


# infidelity


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 10))
def test_the_gradient_of_a_linear_score_is_not_unfaithful_at_all(seed, scale):
    weights, image = linear_case(seed)
    answer = linear(weights, bias=1.5)
    for perturbation in (GaussianNoise(0.3), RemovedSquare(2)):
        asked = {"perturbation": perturbation, "samples": 10, "seed": seed}
        assert infidelity(answer, image, weights, kind="per_unit", **asked).value == pytest.approx(0, abs=1e-18)
        scaled = infidelity(answer, image, scale * weights, kind="per_unit", **asked)
        assert scaled.best_scale == pytest.approx(1 / scale)
        assert scaled.value_at_best_scale == pytest.approx(0, abs=1e-18)
        assert scaled.relative == pytest.approx((scale - 1) ** 2, abs=1e-9)
    shares = infidelity(answer, image, weights * image, kind="share", **asked)
    assert shares.value == pytest.approx(0, abs=1e-18)
    pooled = infidelity(answer, image, (weights * image).sum(axis=0), kind="share", **asked)
    np.testing.assert_allclose(pooled.said, shares.said, atol=1e-12)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("kind", ["per_unit", "share"])
def test_what_was_said_and_lost_is_that_of_each_removed_square(space, kind):
    image, _ = example(space)
    values = np.random.default_rng(5).normal(size=image.shape)
    answer, seen = recorded(bumpy)
    found = infidelity(answer, image, values, perturbation=RemovedSquare(3, fill=7.0), kind=kind, samples=40)
    corners = set()
    for each, said, lost in zip(seen[1:], found.said, found.lost, strict=True):
        places = np.argwhere((each != image).any(axis=0))
        corners.add(tuple(places.min(axis=0)))
        assert (np.ptp(places, axis=0) + 1).tolist() == [min(3, size) for size in space]
        by_hand = 0.0
        for place in map(tuple, places):
            for channel in range(len(image)):
                assert each[(channel, *place)] == pytest.approx(7)
                factor = 1 if kind == "share" else float(image[(channel, *place)]) - 7
                by_hand += values[(channel, *place)] * factor
        assert said == pytest.approx(by_hand, rel=1e-5)
        assert lost == pytest.approx(bumpy(image[None])[0] - bumpy(each[None])[0])
    assert found.value == pytest.approx(np.mean([(a - b) ** 2 for a, b in zip(found.said, found.lost, strict=True)]))
    assert found.of_zeros == pytest.approx(np.mean(found.lost**2))
    free = [size - min(3, size) + 1 for size in space]
    assert all(0 <= at < size for corner in corners for at, size in zip(corner, free, strict=True))
    assert len(corners) > min(40, math.prod(free)) / 2


def test_noise_has_the_spread_that_was_asked_for():
    answer, seen = recorded(lambda images: np.zeros(len(images)))
    image = np.zeros((1, 40, 40))
    found = infidelity(answer, image, image, perturbation=GaussianNoise(0.2), kind="per_unit", samples=5, seed=3)
    assert np.std(seen[1:]) == pytest.approx(0.2, rel=0.03)
    assert not seen[0].any()
    assert math.isnan(found.best_scale)
    assert math.isnan(found.value_at_best_scale)
    assert math.isnan(found.relative)


def test_no_scale_is_better_than_the_best_one():
    image, _ = example((5, 6))
    values = np.random.default_rng(5).normal(size=image.shape)
    found = infidelity(bumpy, image, values, perturbation=GaussianNoise(0.5), kind="per_unit", samples=30)
    others = [np.mean((scale * found.said - found.lost) ** 2) for scale in np.linspace(-1, 1, 201)]
    assert found.value_at_best_scale <= min(others)
    assert found.value_at_best_scale <= found.of_zeros


def test_seeds_of_perturbations_are_kept():
    image, _ = example((5, 6))
    for perturbation in (GaussianNoise(0.5), RemovedSquare(2)):
        lost = [
            infidelity(bumpy, image, image, perturbation=perturbation, kind="per_unit", seed=seed).lost
            for seed in (1, 1, 2)
        ]
        np.testing.assert_array_equal(lost[0], lost[1])
        assert (lost[0] != lost[2]).any()


def test_attributions_that_cannot_answer_are_refused():
    image, values = example((5, 6))
    with pytest.raises(SettingError, match="does not say what noise does"):
        infidelity(bumpy, image, values, perturbation=GaussianNoise(1), kind="share")
    with pytest.raises(ShapeError, match="per unit it needs the image's shape"):
        infidelity(bumpy, image, values, perturbation=GaussianNoise(1), kind="per_unit")
    with pytest.raises(SettingError, match="kind is one of per_unit, share"):
        infidelity(bumpy, image, values, perturbation=GaussianNoise(1), kind="gradient")
    with pytest.raises(SettingError, match="cover the whole image"):
        infidelity(bumpy, image, values, perturbation=RemovedSquare(6), kind="share")
    with pytest.raises(SettingError, match="perturbation is GaussianNoise"):
        infidelity(bumpy, image, values, perturbation="noise", kind="share")
    with pytest.raises(SettingError, match="sigma is a finite number above 0"):
        GaussianNoise(0)
    with pytest.raises(SettingError, match="side_px"):
        RemovedSquare(0)
    one_channel = image[:1]
    flat = infidelity(bumpy, one_channel, values, perturbation=GaussianNoise(1), kind="per_unit")
    whole = infidelity(bumpy, one_channel, values[None], perturbation=GaussianNoise(1), kind="per_unit")
    assert flat.value == whole.value


# completeness


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), bias=st.floats(-5, 5))
def test_shares_of_a_linear_score_are_complete_up_to_what_the_baseline_holds(seed, bias):
    weights, image = linear_case(seed)
    answer = linear(weights, bias)
    for attribution in (weights * image, (weights * image).sum(axis=0)):
        found = completeness(answer, image, attribution)
        assert found.gap == pytest.approx(0, abs=1e-9)
        assert found.difference == pytest.approx(answer(image[None])[0] - bias)
        assert found.baseline == "zero"
    shifted = completeness(answer, image, weights * (image - 0.5), baseline=0.5)
    assert shifted.gap == pytest.approx(0, abs=1e-9)
    doubled = completeness(answer, image, 2 * weights * image)
    assert doubled.gap == pytest.approx(doubled.difference, abs=1e-9)
    assert doubled.relative_gap == pytest.approx(1, rel=1e-6)


def test_a_share_of_no_difference_is_not_a_number():
    image, values = example((5, 6))
    found = completeness(lambda x: np.ones(len(x)), image, values)
    assert found.difference == 0
    assert found.gap == pytest.approx(values.sum())
    assert math.isnan(found.relative_gap)
    with pytest.raises(SettingError, match="equals the image everywhere"):
        completeness(bumpy, np.zeros((1, 5)), np.zeros(5))
    with pytest.raises(ShapeError, match="the attribution is"):
        completeness(bumpy, image, values[:2])


# average drop


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_the_drop_is_that_of_the_image_times_its_map(space):
    image, values = example(space)
    answer, calls = counted(lambda x: 0.5 + 0.4 * np.tanh(bumpy(x)))
    mask = min_max(values, len(space)).values
    found = confidence_drop(answer, image, mask)
    times = np.stack([[channel[place] * mask[place] for place in np.ndindex(space)] for channel in image])
    expected = [answer(each[None])[0] for each in (image, times.reshape(image.shape).astype(np.float32))]
    assert [found.score, found.masked_score] == pytest.approx(expected)
    assert found.drop == pytest.approx(max(0, expected[0] - expected[1]) / expected[0])
    assert found.is_increase == (expected[1] > expected[0])
    assert calls[0] == 2


def test_drops_and_increases_are_averaged_over_images_by_hand():
    answer = linear(np.array([[1.0, -1.0]]))
    images = [[[3.0, 1.0]], [[2.0, 1.0]], [[4.0, 0.0]]]
    maps = [[1, 0], [0.25, 1], [0.5, 1]]
    found = [confidence_drop(answer, *pair) for pair in zip(images, maps, strict=True)]
    assert [each.drop for each in found] == [0, 1.5, 0.5]
    assert mean_with_interval([each.drop for each in found]).mean == pytest.approx(2 / 3)
    assert mean_with_interval([each.is_increase for each in found]).mean == pytest.approx(1 / 3)


def test_shares_of_nothing_and_maps_that_amplify_are_refused():
    image, values = example((5, 6))
    with pytest.raises(SettingError, match="must lie between 0 and 1"):
        confidence_drop(bumpy, image, values)
    for score in (0.0, -1.0):
        with pytest.raises(SettingError, match="ask for a probability"):
            confidence_drop(lambda x, score=score: np.full(len(x), score), image, np.ones((5, 6)))
