"""Does a map lie where a finding is: worked examples, brute force, and what does not exist."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xai_med.errors import DtypeError, SettingError, ShapeError
from xai_med.metrics import (
    average_precision,
    hit,
    iou,
    mass,
    mean_with_interval,
    pixel_auc,
    pointing,
    rank_accuracy,
    weighted_mass,
)

P = np.array([[1, 1, 0], [0, 1, 0]], dtype=bool)
G = np.array([[0, 1, 1], [0, 1, 0]], dtype=bool)
MAP = np.array([[0.1, 0.5, 0.3], [0.05, 0.05, 0]])
EMPTY = np.zeros((2, 3), dtype=bool)


def test_worked_example():
    assert iou(P, G) == 0.5
    assert mass(MAP, G) == pytest.approx(0.85)
    assert rank_accuracy(MAP, G) == pytest.approx(2 / 3)
    assert hit(MAP, G) == 1
    assert weighted_mass(MAP, G) == pytest.approx(1.7)
    assert average_precision(MAP, G) == pytest.approx(0.866667, abs=5e-7)


def brute_average_precision(values, truth):
    """Precision at each threshold, weighed by the recall that it adds."""
    total, before, area = truth.sum(), 0.0, 0.0
    for level in sorted(set(values.ravel().tolist()), reverse=True):
        kept = values >= level
        recall, precision = (kept & truth).sum() / total, (kept & truth).sum() / kept.sum()
        area += (recall - before) * precision
        before = recall
    return area


@settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_areas_are_those_of_a_loop_over_thresholds_and_pairs(seed):
    random = np.random.default_rng(seed)
    values = random.integers(0, 4, size=(4, 5)).astype(float)
    truth = random.random((4, 5)) < 0.4
    truth[0, 0], truth[3, 4] = True, False
    assert average_precision(values, truth) == pytest.approx(brute_average_precision(values, truth))
    pairs = [(a > b) + 0.5 * (a == b) for a in values[truth] for b in values[~truth]]
    assert pixel_auc(values, truth) == pytest.approx(np.mean(pairs))


def test_an_even_map_has_no_skill():
    even = np.ones((2, 3))
    assert average_precision(even, G) == pytest.approx(G.mean())
    assert pixel_auc(even, G) == 0.5
    assert weighted_mass(even, G) == pytest.approx(1)


def test_pointing_forgives_less_than_its_tolerance():
    values, truth = np.zeros((40, 40)), np.zeros((40, 40), dtype=bool)
    values[10, 10] = 1
    truth[10, 25] = True
    assert hit(values, truth) == 0
    assert pointing(values, truth) == 0
    assert pointing(values, truth, tolerance_px=15.1) == 1


def test_measures_work_in_three_dimensions():
    values, truth = np.zeros((3, 4, 5)), np.zeros((3, 4, 5), dtype=bool)
    values[1, 2, 3] = truth[1, 2, 3] = 1
    assert [hit(values, truth), mass(values, truth), pointing(values, truth), pixel_auc(values, truth)] == [1] * 4


def test_what_does_not_exist_is_not_a_number():
    assert math.isnan(iou(EMPTY, EMPTY))
    assert iou(EMPTY, EMPTY, empty=1.0) == 1
    assert iou(P, EMPTY) == 0
    for measure in (hit, mass, weighted_mass, rank_accuracy, average_precision, pixel_auc, pointing):
        assert math.isnan(measure(MAP, EMPTY))
    assert math.isnan(mass(np.zeros((2, 3)), G))


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(SettingError, match="negative values"):
        mass(MAP - 1, G)
    with pytest.raises(ShapeError, match="resize the map linearly"):
        hit(MAP, G.T)
    with pytest.raises(DtypeError, match="mask > 0"):
        hit(MAP, G.astype(float))
    with pytest.raises(ValueError, match="NaN"):
        hit(np.full((2, 3), np.nan), G)


def test_intervals_cover_the_mean_about_as_often_as_they_say():
    covered = 0
    for seed in range(100):
        values = np.random.default_rng(seed).normal(0.3, 1, size=40)
        found = mean_with_interval(values, resamples=400, seed=seed)
        covered += found.low <= 0.3 <= found.high
    assert 85 <= covered <= 100


def test_whole_patients_are_resampled():
    values = np.repeat(np.random.default_rng(0).normal(size=5), 50)
    images = mean_with_interval(values)
    patients = mean_with_interval(values, groups=np.repeat(np.arange(5), 50))
    assert images.mean == pytest.approx(patients.mean)
    assert patients.high - patients.low > 4 * (images.high - images.low)


def test_undefined_images_are_left_out_and_counted():
    found = mean_with_interval([1.0, np.nan, 0.0, 1.0])
    assert (found.images, found.undefined) == (3, 1)
    assert found.mean == pytest.approx(2 / 3)
    assert str(found).endswith("; 3 images, 1 undefined)")
    assert math.isnan(mean_with_interval([np.nan]).mean)
    assert mean_with_interval([1.0, 0.0, 1.0], seed=3) == mean_with_interval([1.0, 0.0, 1.0], seed=3)
    with pytest.raises(ShapeError, match="one number per image"):
        mean_with_interval([[1.0]])


def test_constant_maps_point_nowhere():
    corner = np.zeros((4, 4), bool)
    corner[0, 0] = True
    for values in (np.zeros((4, 4)), np.full((4, 4), 2.5)):
        assert np.isnan(hit(values, corner))
        assert np.isnan(pointing(values, corner, tolerance_px=2))
        assert np.isnan(rank_accuracy(values, corner))


def test_pixels_of_equal_value_count_with_their_chance():
    """One pixel is strongest, the rest are equal: of three findings two must be drawn from fifteen."""
    values, mask = np.zeros((4, 4)), np.zeros((4, 4), bool)
    values[1, 1] = 1.0
    mask[1, 1] = mask[0, 0] = mask[3, 3] = True
    assert rank_accuracy(values, mask) == pytest.approx((1 + 2 * 2 / 15) / 3)
    np.testing.assert_allclose(rank_accuracy(values[::-1], mask[::-1]), rank_accuracy(values, mask))


def test_one_unit_has_no_interval():
    one = mean_with_interval([0.5, np.nan])
    assert one.mean == 0.5
    assert np.isnan([one.low, one.high]).all()
    same = mean_with_interval(np.arange(50.0), groups=["a"] * 50)
    assert np.isnan([same.low, same.high]).all()
    with pytest.raises(SettingError, match="unrelated images"):
        mean_with_interval(np.arange(3.0), groups=[1.0, np.nan, np.nan])
