"""Agreement of a map with gaze: worked examples, counting, and what does not exist."""

import math

import numpy as np
import pytest

from xai_med.errors import GazeError, SettingError, ShapeError
from xai_med.gaze import (
    Fixations,
    centre_map,
    correlation,
    gaze_auc,
    kl_divergence,
    overlap,
    scan_path_saliency,
    shuffled_auc,
    similarity,
)

PREDICTED = np.array([[0.8, 0.1], [0.1, 0]])
GAZE = np.array([[1.0, 0], [0, 0]])


def at(*cells):
    """Fixations at the middles of pixels (row, column)."""
    return Fixations([c + 0.5 for _, c in cells], [r + 0.5 for r, _ in cells], [0.2] * len(cells))


def test_worked_example():
    assert correlation(PREDICTED, GAZE) == pytest.approx(0.991837, abs=5e-7)
    assert kl_divergence(GAZE, PREDICTED) == pytest.approx(0.223144, abs=5e-7)
    assert similarity(PREDICTED, GAZE) == pytest.approx(0.8)


def test_agreement_with_itself_is_perfect():
    values = np.random.default_rng(0).random((5, 6))
    assert correlation(values, 3 * values + 1) == pytest.approx(1)
    assert similarity(values, 2 * values) == pytest.approx(1)
    assert kl_divergence(values, 2 * values) == pytest.approx(0, abs=1e-12)
    assert overlap(values, values) == 1


def test_the_area_is_the_share_of_pairs_that_are_in_order():
    random = np.random.default_rng(1)
    values = random.integers(0, 4, size=(6, 7)).astype(float)
    hits = [(0, 1), (3, 3), (5, 6)]
    inside = [values[cell] for cell in hits]
    outside = [values[cell] for cell in np.ndindex(6, 7) if cell not in hits]
    pairs = [(a > b) + 0.5 * (a == b) for a in inside for b in outside]
    assert gaze_auc(values, at(*hits)) == pytest.approx(np.mean(pairs))
    other = [(1, 1), (2, 2)]
    pairs = [(a > values[b]) + 0.5 * (a == values[b]) for a in inside for b in other]
    assert shuffled_auc(values, at(*hits), at(*other)) == pytest.approx(np.mean(pairs))


def test_saliency_of_a_scan_path_by_hand():
    values = np.array([[1.0, 2], [3, 6]])
    expected = np.mean([(values[1, 1] - 3) / values.std(), (values[0, 0] - 3) / values.std()])
    assert scan_path_saliency(values, at((1, 1), (0, 0))) == pytest.approx(expected)


def test_gaze_at_the_middle_is_no_merit_under_the_shuffled_area():
    middle = centre_map((20, 20))
    random = np.random.default_rng(2)
    here, elsewhere = (
        Fixations(*np.clip(random.normal(10, 2, size=(2, 200)), 0, 19.9), np.ones(200)) for _ in range(2)
    )
    assert gaze_auc(middle, here) > 0.9
    assert shuffled_auc(middle, here, elsewhere) == pytest.approx(0.5, abs=0.06)


def test_overlap_of_as_many_pixels_of_each():
    a = np.array([[4.0, 3, 0, 0]])
    b = np.array([[0.0, 9, 8, 0]])
    assert overlap(a, b, share=0.5) == pytest.approx(1 / 3)


def test_what_does_not_exist_is_not_a_number():
    assert math.isnan(correlation(np.ones((2, 2)), GAZE))
    assert math.isnan(similarity(np.zeros((2, 2)), GAZE))
    assert math.isnan(scan_path_saliency(np.ones((2, 2)), at((0, 0))))
    assert kl_divergence(GAZE, 1 - GAZE) == math.inf
    assert kl_divergence(GAZE, 1 - GAZE, epsilon=1e-3) < 10


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(SettingError, match="both signs"):
        similarity(PREDICTED - 1, GAZE)
    with pytest.raises(ShapeError, match=r"differ in shape: \(2, 2\) and \(3, 2\)"):
        correlation(PREDICTED, np.ones((3, 2)))
    with pytest.raises(GazeError, match="no fixation lies on the image"):
        gaze_auc(PREDICTED, at((9, 9)))
    with pytest.raises(GazeError, match="every pixel was fixated"):
        gaze_auc(PREDICTED, at((0, 0), (0, 1), (1, 0), (1, 1)))
    with pytest.raises(ValueError, match="NaN"):
        correlation(np.full((2, 2), np.nan), GAZE)


def test_the_centre_is_a_map_that_sums_to_one():
    middle = centre_map((4, 6))
    assert middle.sum() == pytest.approx(1)
    np.testing.assert_allclose(middle, middle[::-1, ::-1])


def test_sparse_maps_at_different_places_do_not_overlap():
    """Zeros are not among the strongest pixels, however many of them are needed."""
    first, second = np.zeros((64, 64)), np.zeros((64, 64))
    first[63, 3] = second[63, 60] = 1.0
    assert overlap(first, second) == 0
    assert overlap(first, first) == 1
    assert np.isnan(overlap(first, np.zeros((64, 64))))


def test_a_constant_map_has_no_scan_path_saliency_whatever_its_value():
    fixations = Fixations([5.0], [5.0], [1.0])
    assert np.isnan(scan_path_saliency(np.full((128, 128), 0.1), fixations))
