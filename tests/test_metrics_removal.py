"""Deletion and insertion: worked examples, a slow oracle, what fills and ties do, and what is refused."""

import itertools

import numpy as np
import pytest
from answers import SPACES, bumpy, counted, example, linear
from hypothesis import given, settings
from hypothesis import strategies as st

from xai_med.errors import DtypeError, NonFiniteError, SettingError, ShapeError
from xai_med.metrics import Blur, Curve, ask, deletion, insertion


def test_worked_examples():
    """One pixel holds half the score, then the other: 1, 0.5, 0. Scores that come in: 0, 0.9, 1."""
    assert Curve("deletion", [0, 0.5, 1], [1, 0.5, 0], "zero").area == 0.5
    assert Curve("insertion", [0, 0.5, 1], [0, 0.9, 1], "zero").area == pytest.approx(0.7)
    found = deletion(linear(np.array([[0.5, 0.5]])), np.ones((1, 2)), [2.0, 1.0], steps=2)
    assert found.scores.tolist() == [1, 0.5, 0]
    assert found.area == 0.5
    found = insertion(linear(np.array([[0.1, 0.9]])), np.ones((1, 2)), [1.0, 2.0], steps=2, fill="zero")
    np.testing.assert_allclose(found.scores, [0, 0.9, 1])
    assert found.area == pytest.approx(0.7)


def slow_curve(answer, image, values, steps, fill, is_deletion):
    """Pixel after pixel by a sorted list, one image at a time."""
    places = sorted(itertools.product(*map(range, values.shape)), key=lambda place: -values[place])
    now, other = (image.copy(), fill) if is_deletion else (fill.copy(), image)
    scores, done = [answer(now[None])[0]], 0
    for step in range(1, steps + 1):
        while done < step * len(places) // steps:
            for channel in range(len(image)):
                now[(channel, *places[done])] = other[(channel, *places[done])]
            done += 1
        scores.append(answer(now[None])[0])
    return np.array(scores)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("metric", [deletion, insertion])
def test_curves_are_those_of_a_loop_over_pixels(space, metric):
    image, values = example(space)
    for steps in (1, 5, values.size):
        found = metric(bumpy, image, values, steps=steps, fill="zero", batch_size=3)
        slow = slow_curve(bumpy, image, values, steps, np.zeros_like(image), metric is deletion)
        np.testing.assert_allclose(found.scores, slow, rtol=1e-12)
        assert found.fractions.tolist() == [step * values.size // steps / values.size for step in range(steps + 1)]
        assert (found.kind, found.fill, found.tied, found.unchanged) == (metric.__name__, "zero", 0, 0)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_only_the_order_of_a_map_matters(seed, scale, shift):
    image, values = example((5, 6), seed=seed)
    ranks = values.ravel().argsort().argsort().reshape(values.shape)
    for metric in (deletion, insertion):
        area = metric(bumpy, image, values, steps=7).area
        assert metric(bumpy, image, scale * ranks + shift, steps=7).area == area
        assert metric(bumpy, image, np.exp(ranks / 5.0), steps=7).area == area


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_insertion_runs_the_same_images_as_deletion_of_the_negative_map_backwards(seed):
    image, values = example((4, 5), seed=seed)
    forwards = insertion(bumpy, image, values, steps=4, fill="mean")
    backwards = deletion(bumpy, image, -values, steps=4, fill="mean")
    np.testing.assert_array_equal(forwards.scores, backwards.scores[::-1])
    assert forwards.area == pytest.approx(backwards.area)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_no_order_deletes_a_linear_score_faster_than_its_own_shares(seed):
    random = np.random.default_rng(seed)
    weights, image = random.normal(size=(2, 1, 3, 4))
    best = deletion(linear(weights), image, (weights * image)[0], steps=12).area
    other = deletion(linear(weights), image, random.permutation(12).reshape(3, 4), steps=12).area
    assert best <= other + 1e-12


def test_equal_pixels_go_in_the_order_of_rows_and_are_counted():
    image = np.array([[[8.0, 4.0], [2.0, 1.0]]])
    found = deletion(linear(np.ones((1, 2, 2))), image, [[0, 5.0], [0, 0]], steps=4)
    assert found.scores.tolist() == [15, 11, 3, 1, 0]
    assert found.tied == 3


def test_the_fill_is_named_and_counted_where_it_changes_nothing():
    image, values = example((8, 9))
    image[:, 0, :3] = 0
    image[0, 5, 5] = 0  # one channel only: the pixel does change
    assert deletion(bumpy, image, values).unchanged == 3
    names = {
        "mean": "mean",
        "blur": "blur (sigma 5 px, radius 5 px)",
        Blur(2, 4): "blur (sigma 2 px, radius 4 px)",
        -0.5: "-0.5",
    }
    for fill, name in names.items():
        assert deletion(bumpy, image, values, fill=fill).fill == name
    assert deletion(bumpy, image, values, fill=np.array([1.0, 2.0])).fill == "one number per channel"
    assert deletion(bumpy, image, values, fill=image + 1).fill == "image"
    assert insertion(bumpy, image, values).fill.startswith("blur")
    assert deletion(bumpy, image, values).fill == "zero"


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_fills_are_what_they_say(space):
    image, values = example(space)
    wholly = {}
    for fill in ("zero", "mean", 0.25, "blur"):
        seen = []
        deletion(
            lambda images, seen=seen: seen.append(images) or np.zeros(len(images)), image, values, fill=fill, steps=1
        )
        wholly[fill] = seen[0][1]
        assert seen[0].dtype == image.dtype
        np.testing.assert_array_equal(seen[0][0], image)
    assert not wholly["zero"].any()
    assert (wholly[0.25] == 0.25).all()
    for channel, each in zip(image, wholly["mean"], strict=True):
        np.testing.assert_allclose(each, channel.astype(np.float64).mean(), atol=1e-6)
    np.testing.assert_allclose(wholly["blur"], slow_blur(image), atol=1e-6)


def slow_blur(image, sigma=5, radius=5):
    """A weighted mean over a cube of 11 pixels a side, the nearest pixel standing in outside."""
    blurred = np.zeros(image.shape)
    steps = range(-radius, radius + 1)
    for place in itertools.product(*map(range, image.shape[1:])):
        total = 0.0
        for offset in itertools.product(steps, repeat=len(place)):
            weight = np.exp(-sum(step**2 for step in offset) / (2 * sigma**2))
            nearest = tuple(np.clip(np.add(place, offset), 0, np.array(image.shape[1:]) - 1))
            blurred[(slice(None), *place)] += weight * image[(slice(None), *nearest)]
            total += weight
        blurred[(slice(None), *place)] /= total
    return blurred


def test_the_model_is_asked_in_batches_and_once_per_image():
    image, values = example((6, 7))
    asked, calls = counted(bumpy)
    found = deletion(asked, image, values, steps=20, batch_size=8)
    assert calls == [8, 8, 5]
    np.testing.assert_allclose(found.scores, deletion(bumpy, image, values, steps=20, batch_size=1).scores)


def test_nothing_of_the_caller_is_changed():
    image, values = example((6, 7))
    before, map_before = image.copy(), values.copy()

    def greedy(images):
        images[:] = 0  # a model that writes to its input
        return np.zeros(len(images))

    found = insertion(greedy, image, values, steps=9, fill=image * 2)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(values, map_before)
    with pytest.raises(ValueError, match="read-only"):
        found.scores[0] = 1


def test_what_cannot_be_judged_is_refused():
    image, values = example((8, 9))
    with pytest.raises(SettingError, match="orders no pixels"):
        deletion(bumpy, image, np.full((8, 9), 3.0))
    with pytest.raises(SettingError, match="73 steps were asked for, the map has 72 pixels"):
        deletion(bumpy, image, values, steps=73)
    with pytest.raises(SettingError, match="equals the image everywhere"):
        deletion(bumpy, np.zeros_like(image), values)
    with pytest.raises(SettingError, match="'blur', 'mean', 'zero'"):
        deletion(bumpy, image, values, fill="black")
    with pytest.raises(SettingError, match="too large for the image's float32"):
        deletion(bumpy, image, values, fill=1e300)
    with pytest.raises(ShapeError, match=r"the fill is \(3,\)"):
        deletion(bumpy, image, values, fill=np.zeros(3))
    with pytest.raises(SettingError, match="sigma_px is a finite number above 0"):
        Blur(0)
    for steps in (0, 2.5, True, "ten"):
        with pytest.raises(SettingError, match="steps is a whole number"):
            deletion(bumpy, image, values, steps=steps)
    with pytest.raises(ShapeError, match="resized to the image"):
        deletion(bumpy, image, values[:3])
    with pytest.raises(ShapeError, match="one image and one map at a time"):
        deletion(bumpy, image, values[None])
    with pytest.raises(ShapeError, match=r"must be \(C, \*space\)"):
        deletion(bumpy, np.zeros((2, 3, 4, 5, 6)), values)
    with pytest.raises(NonFiniteError, match="NaN"):
        deletion(bumpy, image, np.where(values > 1, np.nan, values))


def test_answers_that_are_no_scores_are_refused():
    images = [np.zeros((1, 3))] * 5
    with pytest.raises(ShapeError, match=r"answer to 5 images has shape \(5, 1\)"):
        ask(lambda x: np.zeros((len(x), 1)), images)
    with pytest.raises(NonFiniteError, match="perturbed image 4"):
        ask(
            lambda x: np.where(np.arange(len(x)) == len(x) - 1, np.inf, 0) if len(x) == 1 else np.zeros(len(x)),
            images,
            batch_size=4,
        )
    with pytest.raises(DtypeError, match="real numbers"):
        ask(lambda x: np.zeros(len(x), dtype=complex), images)
    assert ask(lambda x: np.ones(len(x), dtype=np.float32), images).dtype == np.float64
    assert ask(lambda x: np.ones(len(x)), []).shape == (0,)
