"""Boxes from maps: the worked example under both neighbourhoods, thresholds of what, Otsu by brute force."""

import numpy as np
import pytest

from xai_med.errors import SettingError
from xai_med.metrics import BOX_RULES, Box, BoxRule, box_from_map, mask_from_map

M1 = np.array([[0.5, 6], [3, 0.5]])


def test_worked_example_has_two_parts_or_one():
    four = BoxRule(0.2, connectivity=4)
    assert mask_from_map(M1, four).tolist() == [[False, True], [True, False]]
    assert box_from_map(M1, four) == Box(1, 0, 1, 1)
    assert box_from_map(M1, "cam") == Box(0, 0, 2, 2)


def test_an_offset_counts_unless_the_range_is_taken():
    offset = np.array([[10.0, 11, 12]])
    assert mask_from_map(offset, BoxRule(0.2, "raw")).tolist() == [[True, True, True]]
    assert mask_from_map(offset, BoxRule(0.2, "range")).tolist() == [[False, True, True]]


def test_a_pixel_at_the_threshold_is_left_out_or_kept():
    values = np.array([[1.0, 2, 10]])
    assert mask_from_map(values, BoxRule(0.2)).tolist() == [[False, False, True]]
    assert mask_from_map(values, BoxRule(0.2, is_strict=False)).tolist() == [[False, True, True]]


def test_the_largest_part_wins_and_the_first_of_equal_ones():
    values = np.array([[5.0, 0, 0, 3, 3], [0, 0, 0, 3, 3]])
    assert box_from_map(values) == Box(3, 0, 2, 2)
    assert box_from_map(np.array([[3.0, 0, 3]])) == Box(0, 0, 1, 1)


def brute_otsu(values):
    grey = np.floor(255 * values).astype(int)
    best, level = -1.0, 0
    for threshold in range(255):
        low, high = grey[grey <= threshold], grey[grey > threshold]
        if len(low) and len(high):
            between = len(low) * len(high) * (low.mean() - high.mean()) ** 2
            if between > best * (1 + 1e-12):
                best, level = between, threshold
    return grey > level


@pytest.mark.parametrize("seed", range(10))
def test_otsu_parts_into_the_classes_that_differ_most(seed):
    random = np.random.default_rng(seed)
    values = np.clip(np.concatenate([random.normal(0.3, 0.1, 50), random.normal(0.7, 0.1, 30)]), 0, 1).reshape(8, 10)
    values = (values - values.min()) / np.ptp(values)
    np.testing.assert_array_equal(mask_from_map(values, "otsu"), brute_otsu(values))


@pytest.mark.parametrize("rule", BOX_RULES)
def test_a_map_without_evidence_has_no_box(rule):
    assert box_from_map(np.zeros((4, 4)), rule) is None
    assert box_from_map(np.full((4, 4), -1.0), rule) is None


def test_boxes_overlap_by_area():
    assert Box(0, 0, 2, 2).iou(Box(1, 1, 2, 2)) == pytest.approx(1 / 7)
    assert Box(0, 0, 2, 2).iou(Box(2, 0, 2, 2)) == 0
    assert Box(0.5, 0, 3, 2).iou(Box(0.5, 0, 3, 2)) == 1


def test_a_box_holds_the_pixels_whose_centres_it_holds():
    assert np.argwhere(Box(1, 0, 2, 1).mask((2, 4))).tolist() == [[0, 1], [0, 2]]
    box = box_from_map(M1)
    assert box is not None
    assert box.mask((2, 2)).all()


def test_rules_out_of_range_are_refused():
    with pytest.raises(SettingError, match="threshold is 'otsu' or at least 0"):
        BoxRule(1.0)
    with pytest.raises(SettingError, match="connectivity is 4 or 8"):
        BoxRule(connectivity=6)
    with pytest.raises(SettingError, match="rule is one of cam"):
        box_from_map(M1, "own")
    with pytest.raises(SettingError, match="width and a height above zero"):
        Box(0, 0, 0, 1)


@pytest.mark.parametrize("of", ["raw", "positive", "range"])
@pytest.mark.parametrize("factor", [0.003, 1.0, 50.0])
def test_otsu_does_not_depend_on_the_scale_of_the_map(of, factor):
    rows, columns = np.mgrid[:24, :24]
    blob = np.exp(-((rows - 8) ** 2 + (columns - 15) ** 2) / 18)
    expected = mask_from_map(blob, "otsu")
    assert 20 < expected.sum() < 200
    np.testing.assert_array_equal(mask_from_map(factor * blob, BoxRule("otsu", of)), expected)
