"""ROAD and its imputer: worked examples, dense equations, three numbers of space axes, noise, and what is refused."""

import itertools

import numpy as np
import pytest
from answers import SPACES, bumpy, example, linear
from hypothesis import given, settings
from hypothesis import strategies as st

from xai_med.errors import DtypeError, SettingError, ShapeError
from xai_med.metrics import linear_imputation, road


def missing_at(shape, *places):
    mask = np.zeros(shape, dtype=bool)
    for place in places:
        mask[place] = True
    return mask


def test_worked_examples():
    image = np.zeros((1, 3, 3))
    image[0, [0, 1, 1, 2], [1, 0, 2, 1]] = 6
    assert linear_imputation(image, missing_at((3, 3), (1, 1)))[0, 1, 1] == pytest.approx(4)
    assert linear_imputation(image, missing_at((3, 3), (0, 0)))[0, 0, 0] == pytest.approx(4.8)


def test_weights_of_one_and_three_space_axes():
    signal = np.array([[0, 1.0, 9, 4, 0]])
    assert linear_imputation(signal, missing_at((5,), 2))[0, 2] == pytest.approx((1 + 4) / 2)
    assert linear_imputation(signal, missing_at((5,), 0))[0, 0] == pytest.approx(1)
    for offset, weight in {(0, 0, 1): 1 / 14, (0, 1, 1): 1 / 28, (1, 1, 1): 1 / 56}.items():
        volume = np.zeros((1, 3, 3, 3))
        volume[(0, *np.add(1, offset))] = 1
        assert linear_imputation(volume, missing_at((3, 3, 3), (1, 1, 1)))[0, 1, 1, 1] == pytest.approx(weight)


def dense_imputation(image, mask):
    """One equation per missing pixel, solved as a full matrix."""
    places = [place for place in np.ndindex(mask.shape) if mask[place]]
    number = {place: index for index, place in enumerate(places)}
    matrix, right = np.zeros((len(places),) * 2), np.zeros((len(places), len(image)))
    for place, row in number.items():
        for offset in itertools.product((-1, 0, 1), repeat=mask.ndim):
            neighbour = tuple(np.add(place, offset).tolist())
            apart = sum(map(abs, offset))
            if not apart or not all(0 <= at < size for at, size in zip(neighbour, mask.shape, strict=True)):
                continue
            weight = {1: 1, 2: 1 / 2, 3: 1 / 4}[apart]
            matrix[row, row] += weight
            if neighbour in number:
                matrix[row, number[neighbour]] -= weight
            else:
                right[row] += weight * image[(slice(None), *neighbour)]
    filled = image.copy()
    for place, values in zip(places, np.linalg.solve(matrix, right), strict=True):
        filled[(slice(None), *place)] = values
    return filled


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    space=st.sampled_from([(1,), (9,), (5, 6), (1, 7), (3, 4, 3), (2, 1, 5)]),
    share=st.floats(0.05, 0.99),
)
def test_imputation_solves_the_dense_equations(seed, space, share):
    random = np.random.default_rng(seed)
    image, mask = random.normal(size=(2, *space)), random.random(space) < share
    mask.ravel()[random.integers(mask.size)] = False
    np.testing.assert_allclose(linear_imputation(image, mask), dense_imputation(image, mask), atol=1e-9)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_an_even_image_is_imputed_as_it_was_and_never_leaves_the_range_of_what_is_known(space):
    mask = np.random.default_rng(0).random(space) < 0.8
    mask.ravel()[3] = False
    np.testing.assert_allclose(linear_imputation(np.full((2, *space), 7.5), mask), 7.5, rtol=1e-9)
    image, _ = example(space)
    found, known = linear_imputation(image, mask), image[:, ~mask]
    assert found.dtype == image.dtype
    np.testing.assert_array_equal(found[:, ~mask], known)
    assert (found >= known.min(axis=1).reshape(-1, *[1] * len(space)) - 1e-5).all()
    assert (found <= known.max(axis=1).reshape(-1, *[1] * len(space)) + 1e-5).all()


def test_both_solvers_agree_on_images():
    image, mask = example((30, 40))[0].astype(np.float64), np.random.default_rng(3).random((30, 40)) < 0.9
    as_volume = linear_imputation(image[:, None], mask[None])[:, 0]
    np.testing.assert_allclose(as_volume, linear_imputation(image, mask), atol=1e-8)


def test_channels_of_zeros_are_solved_in_volumes():
    volume = np.random.default_rng(0).normal(size=(2, 4, 4, 4))
    volume[1] = 0
    mask = np.random.default_rng(1).random((4, 4, 4)) < 0.5
    np.testing.assert_allclose(linear_imputation(volume, mask), dense_imputation(volume, mask), atol=1e-9)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_scores_are_those_of_images_imputed_one_by_one(space, order):
    image, values = example(space)
    fractions = (0.2, 0.5, 0.8)
    found = road(bumpy, image, values, fractions=fractions, noise=0, order=order)
    ranked = sorted(np.ndindex(*space), key=lambda place: -values[place] if order == "morf" else values[place])
    for fraction, score in zip(fractions, found.scores, strict=True):
        mask = missing_at(space, *ranked[: round(fraction * values.size)])
        assert score == pytest.approx(bumpy(dense_imputation(image, mask)[None])[0], abs=1e-6)
    assert found.score == bumpy(image[None])[0]
    assert found.mean_drop == pytest.approx(found.score - found.scores.mean())
    assert (found.order, found.noise, found.seed, found.tied) == (order, 0, 0, 0)


def test_the_order_of_the_least_relevant_is_that_of_the_negative_map():
    image, values = example((6, 7))
    np.testing.assert_array_equal(
        road(bumpy, image, values, order="lerf").scores, road(bumpy, image, -values, order="morf").scores
    )


def test_noise_is_on_imputed_pixels_only_of_its_size_and_the_same_at_every_fraction():
    image, values = np.zeros((1, 60, 60), dtype=np.float32), np.arange(3600.0).reshape(60, 60)
    seen = []
    road(lambda x: seen.append(x) or np.zeros(len(x)), image, values, fractions=(0.25, 0.5), noise=0.3, seed=4)
    whole, quarter, half = (each.ravel() for each in seen[0])
    assert not whole.any()
    assert not quarter[:2700].any()
    assert (half[2700:] == quarter[2700:]).all()
    assert half[1800:].std() == pytest.approx(0.3, rel=0.05)


def test_seeds_are_kept_and_the_global_state_is_not_used():
    image, values = example((6, 7))
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    first = road(bumpy, image, values, seed=1)
    assert (np.random.get_state()[1] == before).all()
    np.testing.assert_array_equal(first.scores, road(bumpy, image, values, seed=1).scores)
    assert (first.scores != road(bumpy, image, values, seed=2).scores).any()


def test_fractions_do_not_depend_on_their_company():
    image, values = example((6, 7))
    alone = road(bumpy, image, values, fractions=(0.7,)).scores
    np.testing.assert_allclose(alone[0], road(bumpy, image, values, fractions=(0.1, 0.7)).scores[1])


def test_what_shines_through_the_mask_does_not_count():
    """What was under removed pixels cannot be seen in what is imputed."""
    image, values = example((6, 7))
    other = np.where(values > np.median(values), image + 10, image)
    weights = np.ones((2, 6, 7))
    first, second = (road(linear(weights), each, values, fractions=(0.5,), noise=0) for each in (image, other))
    np.testing.assert_allclose(first.scores, second.scores, rtol=1e-5)


def test_what_cannot_be_imputed_is_refused():
    image, values = example((6, 7))
    with pytest.raises(SettingError, match=r"fraction 10 removes 420 of 42 pixels.*0\.1, not 10"):
        road(bumpy, image, values, fractions=(10,))
    with pytest.raises(SettingError, match="removes 0 of 42 pixels"):
        road(bumpy, image, values, fractions=(0.01,))
    with pytest.raises(SettingError, match="at least one fraction"):
        road(bumpy, image, values, fractions=())
    with pytest.raises(SettingError, match="order is one of morf, lerf"):
        road(bumpy, image, values, order="most")
    with pytest.raises(SettingError, match="noise is a finite number at least 0"):
        road(bumpy, image, values, noise=-1)
    with pytest.raises(SettingError, match="orders no pixels"):
        road(bumpy, image, np.zeros((6, 7)))
    with pytest.raises(SettingError, match="every pixel is missing"):
        linear_imputation(image, np.ones((6, 7), dtype=bool))
    with pytest.raises(DtypeError, match="missing must be boolean"):
        linear_imputation(image, values)
    with pytest.raises(ShapeError, match="missing is"):
        linear_imputation(image, values[:3] > 0)
