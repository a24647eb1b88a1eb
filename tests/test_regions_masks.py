"""Regions: where they come from, how they overlap, how they are resized."""

import numpy as np
import pytest

from xai_med.errors import DtypeError, RegionError, ShapeError
from xai_med.regions import (
    Regions,
    aligned_template,
    boxes,
    chest_template,
    from_labels,
    from_masks,
    grid,
    polygons,
    split_lungs,
)


@pytest.mark.parametrize(("width", "widths"), [(224, [74, 74, 76]), (7, [2, 2, 3])])
def test_thirds_are_those_of_the_notebook(width, widths):
    thirds = grid((width, width), (1, 3), names=("left", "middle", "right"))
    assert [int(thirds[name][0].sum()) for name in thirds.names] == widths
    assert (thirds.masks.sum(axis=0) == 1).all()


def test_a_grid_in_three_dimensions_divides_all_of_it():
    parts = grid((4, 5, 6), (2, 1, 3))
    assert parts.names[0] == "slice 1, row 1, column 1"
    assert len(parts) == 6
    assert (parts.masks.sum(axis=0) == 1).all()


def test_boxes_hold_the_pixels_whose_centres_they_hold():
    mask = boxes((4, 6), {"box": (1, 0.4, 2.4, 2)})["box"]
    assert np.argwhere(mask).tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]


def test_boxes_outside_of_the_image_or_without_area_are_refused():
    with pytest.raises(RegionError, match=r"outside of an image of 6 x 4 \(width x height\)"):
        boxes((4, 6), {"box": (5, 0, 2, 2)})
    with pytest.raises(RegionError, match="both sizes above zero"):
        boxes((4, 6), {"box": (1, 1, 0, 2)})


def test_polygons_hold_the_pixels_whose_centres_lie_inside():
    triangle = polygons((4, 4), {"triangle": [(0, 0), (4, 0), (0, 4)]})["triangle"]
    assert triangle.tolist() == [[x + y + 1 < 4 for x in range(4)] for y in range(4)]
    frame = polygons((4, 4), {"square": [(1, 1), (3, 1), (3, 3), (1, 3)]})["square"]
    assert np.argwhere(frame).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_labels_become_named_regions_and_others_none():
    regions = from_labels(np.array([[0, 1], [2, 3]]), {1: "right lung", 2: "left lung"})
    assert regions["right lung"].tolist() == [[False, True], [False, False]]
    assert regions.with_rest()["elsewhere"].tolist() == [[True, False], [False, True]]
    with pytest.raises(DtypeError, match="whole numbers"):
        from_labels(np.array([[0.5]]), {1: "a"})


def test_a_mask_of_several_values_is_refused_and_any_single_value_means_inside():
    assert from_masks({"lung": np.array([[0, 255]], dtype=np.uint8)})["lung"].tolist() == [[False, True]]
    with pytest.raises(RegionError, match="from_labels"):
        from_masks({"lung": np.array([[0, 1, 2]])})


def overlapping(overlap):
    return from_masks({"eyes": [[1, 1, 0]], "nose": [[0, 1, 1]]}, overlap=overlap)


def test_overlaps_are_kept_given_to_the_first_or_refused():
    assert overlapping("keep").masks.sum() == 4
    assert overlapping("first")["nose"].tolist() == [[False, False, True]]
    assert overlapping("keep").by_priority("nose")["eyes"].tolist() == [[True, False, False]]
    assert overlapping("keep").by_priority("nose").names == ("eyes", "nose")
    with pytest.raises(RegionError, match=r"the first, \(0, 1\), to eyes and nose"):
        overlapping("refuse")


def test_resizing_takes_the_cell_under_each_centre():
    regions = Regions(np.array([[[True, False], [False, True]]]), ("a",))
    assert regions.resized((4, 4))["a"].astype(int).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert regions.resized((4, 4)).resized((2, 2))["a"].tolist() == regions["a"].tolist()
    with pytest.raises(ShapeError, match="cannot be resized"):
        regions.resized((4,))


def test_names_must_differ_and_masks_are_locked():
    with pytest.raises(RegionError, match="names must differ"):
        Regions(np.ones((2, 3, 3), dtype=bool), ("a", "a"))
    regions = grid((4, 4), (1, 2))
    with pytest.raises(ValueError, match="read-only"):
        regions.masks[0, 0, 0] = False
    with pytest.raises(RegionError, match="there is no region 'heart'"):
        regions["heart"]


def test_the_template_says_that_it_is_one_and_keeps_the_patients_sides():
    template = chest_template((300, 260))
    assert "from a template" in template.note
    assert "from a template" in repr(template)
    assert len(template) == 7
    assert (template.masks.sum(axis=0) <= 1).all()
    right, left = (np.argwhere(template[f"{side} middle zone"])[:, 1].mean() for side in ("right", "left"))
    assert right < 130 < left
    heights = [np.argwhere(template[f"left {zone} zone"])[:, 0].mean() for zone in ("upper", "middle", "lower")]
    assert heights == sorted(heights)
    assert template.resized((150, 130)).note == template.note


def lungs():
    right, left = np.zeros((20, 20), dtype=bool), np.zeros((20, 20), dtype=bool)
    right[3:12, 2:7] = True
    left[5:17, 12:18] = True
    return right, left


def test_the_template_fits_itself_to_masks_of_the_lungs():
    right, left = lungs()
    fitted = aligned_template(right, left)
    assert (fitted.masks[:3].any(axis=0) == right).all()
    assert (fitted.masks[3:6].any(axis=0) == left).all()
    assert [int(fitted[f"right {zone} zone"].sum()) for zone in ("upper", "middle", "lower")] == [15, 15, 15]
    between = np.argwhere(fitted["mediastinum"])
    assert between.min(axis=0).tolist() == [5, 7]
    assert between.max(axis=0).tolist() == [11, 11]


def test_lungs_the_wrong_way_round_are_refused():
    right, left = lungs()
    with pytest.raises(RegionError, match="patient's right"):
        aligned_template(left, right)
    with pytest.raises(RegionError, match="empty"):
        aligned_template(right, np.zeros_like(left))


def test_one_mask_of_both_lungs_falls_into_two():
    right, left = lungs()
    found = split_lungs(right | left)
    assert (found[0] == right).all()
    assert (found[1] == left).all()
    with pytest.raises(RegionError, match="two lungs"):
        split_lungs(right)


def test_two_labels_of_one_name_are_refused():
    with pytest.raises(RegionError, match="'lungs' names several labels"):
        from_labels(np.arange(4).reshape(2, 2), {1: "lungs", 2: "lungs", 3: "heart"})


def test_outlines_of_another_image_or_without_a_place_are_refused():
    with pytest.raises(RegionError, match="drawn on another size"):
        polygons((128, 128), {"a": [(500, 10), (900, 10), (900, 800)]})
    with pytest.raises(RegionError, match="NaN"):
        polygons((10, 10), {"a": [(5, 1), (5, 9), (np.nan, 5)]})
    polygons((10, 12), {"edge": [(0, 0), (12, 0), (12, 10), (0, 10)]})


def test_soft_lung_masks_are_refused_and_not_taken_for_lung():
    soft = np.zeros((20, 20), np.uint8)
    soft[2:18, 2:8], soft[2:18, 12:18] = 255, 254
    soft[0, 0] = 3
    with pytest.raises(RegionError, match="values beside 0"):
        split_lungs(soft)
    with pytest.raises(RegionError, match="values beside 0"):
        aligned_template(soft, soft)
