"""How much of a map lies in a region: worked examples, brute force, and what does not exist."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xai_med.errors import RegionError, SettingError, ShapeError
from xai_med.regions import Regions, from_masks, grid, score_regions

EXAMPLE = np.array([[4.0, 0, 1, 1], [0, 0, 1, 1]])


def columns():
    return from_masks({"left": np.array([[1, 0, 0, 0]] * 2), "rest": np.array([[0, 1, 1, 1]] * 2)})


@pytest.mark.parametrize(
    ("kind", "left", "rest"),
    [("mean", 2, 4 / 6), ("sum", 4, 4), ("share", 0.5, 0.5), ("enrichment", 2, 2 / 3), ("max", 4, 1)],
)
def test_worked_example(kind, left, rest):
    scores = score_regions(EXAMPLE[None, None], columns(), kind=kind)
    assert scores.values.shape == (1, 1, 2)
    assert scores.of("left")[0] == pytest.approx(left)
    assert scores.of("rest")[0] == pytest.approx(rest)


def brute(values, mask, kind):
    inside = [float(v) for v, m in zip(values.ravel(), mask.ravel(), strict=True) if m]
    total, area = float(values.sum()), mask.mean()
    if not inside:
        return np.nan
    if kind in ("share", "enrichment") and total == 0:
        return np.nan
    return {
        "mean": sum(inside) / len(inside),
        "sum": sum(inside),
        "max": max(inside),
        "share": sum(inside) / (total or 1),
        "enrichment": sum(inside) / (total or 1) / area,
    }[kind]


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["mean", "sum", "share", "enrichment", "max"]))
def test_scores_are_those_of_a_loop_over_cells(seed, kind):
    random = np.random.default_rng(seed)
    space = tuple(random.integers(1, 6, size=random.integers(1, 4)))
    maps = random.integers(0, 3, size=(2, 2, *space)).astype(np.float32)
    regions = [Regions(random.random((3, *space)) < 0.4, ("a", "b", "c")) for _ in range(2)]
    scores = score_regions(maps, regions, kind=kind)
    for n, k, r in np.ndindex(2, 2, 3):
        expected = brute(maps[n, k], regions[n].masks[r], kind)
        np.testing.assert_allclose(scores.values[n, k, r], expected, rtol=1e-12)


def test_shares_of_a_partition_add_up_to_one():
    maps = np.random.default_rng(0).random((3, 2, 9, 8))
    scores = score_regions(maps, grid((9, 8), (3, 2)), kind="share")
    np.testing.assert_allclose(scores.values.sum(axis=2), 1, rtol=1e-12)


def test_an_even_map_is_enriched_nowhere():
    scores = score_regions(np.ones((1, 1, 9, 8)), grid((9, 8), (2, 3)), kind="enrichment")
    np.testing.assert_allclose(scores.values, 1, rtol=1e-12)


@pytest.mark.parametrize("kind", ["mean", "sum", "share", "enrichment", "max"])
def test_an_empty_region_has_no_score_and_a_reason(kind):
    regions = from_masks({"empty": np.zeros((2, 4)), "all": np.ones((2, 4))})
    scores = score_regions(EXAMPLE[None, None], regions, kind=kind)
    assert np.isnan(scores.of("empty")[0])
    assert scores.reason(0, "empty") == "the region is empty"
    assert scores.reason(0, "all") == ""


def test_a_map_of_zeros_has_means_but_no_shares():
    zeros = np.zeros((1, 1, 2, 4))
    assert score_regions(zeros, columns(), kind="mean").of("left")[0] == 0
    shares = score_regions(zeros, columns(), kind="share")
    assert np.isnan(shares.of("left")[0])
    assert shares.reason(0, "left") == "the map is zero everywhere"


def test_signed_maps_need_a_word_on_their_sign():
    signed = EXAMPLE - 1
    with pytest.raises(SettingError, match="sign='positive'"):
        score_regions(signed[None, None], columns())
    with pytest.raises(SettingError, match="of both signs does not exist"):
        score_regions(signed[None, None], columns(), kind="share", sign="signed")
    parts = {
        sign: score_regions(signed[None, None], columns(), kind="sum", sign=sign).of("left")[0]
        for sign in ("positive", "negative", "absolute", "signed")
    }
    assert parts == {"positive": 3, "negative": 1, "absolute": 4, "signed": 2}


def test_regions_of_another_size_are_refused_with_the_cure():
    with pytest.raises(ShapeError, match=r"regions\.resized\(\(2, 4\)\)"):
        score_regions(EXAMPLE[None, None], grid((4, 8), (1, 2)))
    with pytest.raises(ShapeError, match="2 sets of regions were given for 1 images"):
        score_regions(EXAMPLE[None, None], [columns(), columns()])
    with pytest.raises(RegionError, match="use the same names"):
        score_regions(np.stack([EXAMPLE] * 2)[:, None], [columns(), columns().only("rest", "left")])


def test_maps_with_nan_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        score_regions(np.full((1, 1, 2, 4), np.nan), columns())


def test_each_image_may_have_masks_of_its_own():
    swapped = Regions(columns().masks[::-1], ("left", "rest"))
    scores = score_regions(np.stack([EXAMPLE] * 2)[:, None], [columns(), swapped])
    assert scores.of("left").tolist() == [2, 4 / 6]
    assert scores.area_shares.tolist() == [[0.25, 0.75], [0.75, 0.25]]


def test_scores_are_frozen_and_written_as_a_table(tmp_path):
    regions = from_masks({"left": columns()["left"], "empty": np.zeros((2, 4))})
    scores = score_regions(EXAMPLE[None, None], regions)
    with pytest.raises(ValueError, match="read-only"):
        scores.values[0] = 1
    rows = list(csv.DictReader(scores.to_csv(tmp_path / "scores.csv").read_text().splitlines()))
    assert [row["region"] for row in rows] == ["left", "empty"]
    assert rows[0]["score"] == "2.0"
    assert rows[1]["reason"] == "the region is empty"
    assert rows[1]["score"] == "nan"


def test_the_note_of_each_images_regions_comes_along(tmp_path):
    real = from_masks({"left": np.eye(4, dtype=bool)})
    guessed = from_masks({"left": np.eye(4, dtype=bool)}, note="from a template")
    scores = score_regions(np.ones((3, 1, 4, 4)), [real, guessed, guessed])
    assert scores.note == "from a template (2 of 3 images)"
    assert [row["note"] for row in scores.rows()] == ["", "from a template", "from a template"]
    assert "from a template" in scores.to_csv(tmp_path / "scores.csv").read_text(encoding="utf-8")


def test_names_do_not_run_as_formulas_in_a_spreadsheet(tmp_path):
    bad = '=HYPERLINK("http://example.org")'
    scores = score_regions(-np.ones((1, 1, 4, 4)), from_masks({bad: np.eye(4, dtype=bool)}), sign="signed")
    with scores.to_csv(tmp_path / "scores.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["region"] == "'" + bad
    assert float(rows[0]["score"]) == -1.0
