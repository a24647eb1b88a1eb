"""The demonstration runs, measures what it says, and leaves pictures and a page."""

import numpy as np
import pytest

from xai_med.demo.measure import (
    METHODS,
    TOLERANCE_PIXELS,
    centre_hit_rates,
    dilated,
    hit_rates,
    installed_frameworks,
    peaks,
    relative_differences,
)
from xai_med.demo.phantoms import FINDINGS, phantoms
from xai_med.demo.report import as_text, write_page
from xai_med.demo.run import run_demo


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory):
    pytest.importorskip("matplotlib")
    if not installed_frameworks():
        pytest.skip("no framework is installed")
    folder = tmp_path_factory.mktemp("demo")
    said: list[str] = []
    page = run_demo(folder, count=6, say=said.append)
    return folder, "\n".join(said), page.read_text(encoding="utf-8")


def test_every_method_in_every_framework_has_a_row_and_a_picture(demonstration):
    folder, said, page = demonstration
    for framework in installed_frameworks():
        for method in METHODS:
            picture = folder / f"{method}_{framework}.png"
            assert picture.stat().st_size > 5000
            assert picture.name in page
            assert any(line.split()[:2] == [method, framework] for line in said.splitlines())


def test_montage_and_truth_are_shown(demonstration):
    folder, said, page = demonstration
    assert (folder / "truth.png").exists()
    assert all((folder / f"montage_{framework}.png").exists() for framework in installed_frameworks())
    assert str(folder) in said
    assert "centre of the image" in page


def test_page_names_no_other_host(demonstration):
    _, _, page = demonstration
    assert "http" not in page


def test_text_in_the_page_is_escaped(tmp_path):
    path = write_page(tmp_path, ("<b>",), [("<script>",)], [("a.png", "<i>")], ["<u>"])
    assert "<script>" not in path.read_text()
    assert "&lt;script&gt;" in path.read_text()


def test_peaks_are_rows_and_columns_of_the_first_maximum():
    maps = np.zeros((1, 2, 4, 5))
    maps[0, 0, 3, 1] = maps[0, 0, 3, 4] = 2
    maps[0, 1, 0, 2] = 1
    assert peaks(maps).tolist() == [[[3, 1], [0, 2]]]


def test_hits_count_present_findings_only():
    masks = np.zeros((2, 1, 4, 4), bool)
    masks[:, :, 1, 1] = True
    points = np.array([[[1, 1]], [[1, 1]]])
    assert hit_rates(points, masks, np.array([[True], [False]])).tolist() == [1.0]
    assert hit_rates(points + 1, masks, np.array([[True], [False]])).tolist() == [0.0]


def test_masks_grow_by_the_tolerance_in_every_direction():
    mask = np.zeros((1, 1, 21, 21), bool)
    mask[0, 0, 10, 10] = True
    grown = dilated(mask)[0, 0]
    assert grown[10, 10 + TOLERANCE_PIXELS]
    assert not grown[10, 11 + TOLERANCE_PIXELS]
    assert not grown[10 + TOLERANCE_PIXELS, 10 + TOLERANCE_PIXELS]


def test_centre_is_the_baseline_that_the_heart_deserves():
    made = phantoms(40, seed=5)
    rates = dict(zip(FINDINGS, centre_hit_rates(made), strict=True))
    assert rates["enlarged heart"] > 0.5
    assert rates["nodule"] < 0.2


def test_difference_is_relative_to_each_map_s_own_range():
    first = np.stack([np.array([[0.0, 1.0]]), np.array([[0.0, 100.0]])])[None]
    second = first + np.array([0.1, 1.0])[None, :, None, None]
    assert np.allclose(relative_differences(first, second), [0.1, 0.01])


def test_table_is_aligned():
    lines = as_text(("a", "b", "c"), [("long name", "x", "1"), ("s", "y", "22")]).splitlines()
    assert lines[2].startswith("long name  x")
    assert [line[-1] for line in lines[2:]] == ["1", "2"]
