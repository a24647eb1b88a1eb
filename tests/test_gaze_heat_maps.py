"""Heat maps of gaze: worked examples, sums by hand, the published variants, and what is refused."""

import numpy as np
import pytest

from xai_med.errors import FileFormatError, GazeError, SettingError
from xai_med.gaze import (
    Fixations,
    Samples,
    Screen,
    egd_cxr_heat_map,
    heat_map,
    miceye_heat_map,
    read_fixations,
    reflacx_heat_map,
)

TWO = Fixations([1.5, 3.5], [1.5, 1.5], [0.2, 0.6])  # the middles of pixels 1 and 3 of row 1


def test_one_degree_is_the_published_number_of_pixels():
    across, down = Screen(650, 0.2767).pixels_per_degree
    assert across == down == pytest.approx(11.345 / 0.2767, abs=2e-3)
    assert Screen(650, (0.3, 0.2)).pixels_per_degree[1] == pytest.approx(11.345 / 0.2, abs=5e-3)
    with pytest.raises(SettingError, match="above 0 mm"):
        Screen(0, 0.27)


def test_worked_example():
    by_max = heat_map(TWO, (3, 5), sigma_px=1, scale="max")
    np.testing.assert_allclose(by_max[1], [0.204079, 0.448439, 0.773800, 1, 0.583893], atol=5e-7)
    by_sum = heat_map(TWO, (3, 5), sigma_px=1)
    np.testing.assert_allclose(by_sum[1], [0.030634, 0.067315, 0.116155, 0.150110, 0.087648], atol=5e-7)
    counted = heat_map(TWO, (3, 5), sigma_px=1, weight="count", scale="max")
    np.testing.assert_allclose(counted[1], [0.509158, 0.935926, 1, 0.935926, 0.509158], atol=5e-7)


def test_a_heat_map_is_the_sum_of_gaussians_at_pixel_centres():
    random = np.random.default_rng(0)
    fixations = Fixations(random.uniform(-2, 8, 5), random.uniform(-2, 6, 5), random.uniform(0.1, 1, 5))
    found = heat_map(fixations, (5, 7), sigma_px=(1.3, 0.7), scale="none")
    expected = np.zeros((5, 7))
    for x, y, duration in zip(fixations.x, fixations.y, fixations.duration_s, strict=True):
        for row, column in np.ndindex(5, 7):
            away = ((column + 0.5 - x) / 1.3) ** 2 + ((row + 0.5 - y) / 0.7) ** 2
            expected[row, column] += duration * np.exp(-away / 2)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_published_variants_differ_as_published():
    assert reflacx_heat_map(TWO, (3, 5), pixels_per_degree=(1, 1)).sum() == pytest.approx(1)
    egd = egd_cxr_heat_map(TWO, (300, 500))
    assert (egd.min(), egd.max()) == (0, 1)
    longer = Fixations(TWO.x, TWO.y, [9.0, 0.1])
    np.testing.assert_array_equal(egd, egd_cxr_heat_map(longer, (300, 500)))
    assert not np.array_equal(heat_map(TWO, (3, 5), sigma_px=1), heat_map(longer, (3, 5), sigma_px=1))


@pytest.mark.parametrize(("kernel", "sigma"), [(99, 15.2), (199, 30.2)])
def test_miceye_blurs_hit_pixels_by_opencvs_rule(kernel, sigma):
    samples = Samples([0, 1, 2, 3], [150.2, 150.7, np.nan, 999], [149.0, 149.9, np.nan, 5])
    found = miceye_heat_map(samples, (301, 301), kernel_size=kernel)
    assert found[149, 150] == 1
    low, high = found.min(), np.exp(-0.5 * (20 / sigma) ** 2)
    assert low == 0
    assert found[149, 170] == pytest.approx(high, abs=1e-9)
    assert found[149, 150 + kernel // 2 + 1] == 0


def test_miceye_loses_how_long_a_place_was_looked_at():
    once = Samples([0, 1], [20.5, 60.5], [40.5, 40.5])
    long = Samples([0, 1, 2, 3], [20.5, 60.5, 60.5, 60.5], [40.5] * 4)
    np.testing.assert_array_equal(miceye_heat_map(once, (80, 80)), miceye_heat_map(long, (80, 80)))


def test_gaze_that_is_not_on_the_image_is_refused():
    with pytest.raises(GazeError, match="no fixation"):
        heat_map(Fixations([], [], []), (3, 5), sigma_px=1)
    with pytest.raises(GazeError, match="far outside"):
        heat_map(Fixations([900], [900], [1]), (3, 5), sigma_px=1)
    with pytest.raises(GazeError, match="no sample lies"):
        miceye_heat_map(Samples([0], [99], [99]), (3, 5))
    with pytest.raises(SettingError, match="sigma_px is above 0"):
        heat_map(TWO, (3, 5), sigma_px=0)
    with pytest.raises(SettingError, match="kernel_size is odd"):
        miceye_heat_map(Samples([0], [1], [1]), (3, 5), kernel_size=98)


def test_impossible_gaze_is_refused():
    with pytest.raises(GazeError, match="in which unit"):
        Fixations([1], [1], [0])
    with pytest.raises(GazeError, match="no place"):
        Fixations([np.nan], [1], [1])
    with pytest.raises(GazeError, match="times of samples must rise"):
        Samples([0, 0], [1, 1], [1, 1])
    with pytest.raises(ValueError, match="one length"):
        Fixations([1, 2], [1], [1])


def test_gaze_on_a_screen_becomes_gaze_on_the_image():
    fixations = Fixations([110, 190], [60, 20], [1, 2], [0, 1]).moved(x=100, y=50, scale=0.5)
    assert fixations.x.tolist() == [5, 45]
    assert fixations.within((40, 100)).duration_s.tolist() == [1]
    with pytest.raises(ValueError, match="read-only"):
        fixations.x[0] = 0


def test_a_film_watchers_fixations_are_read(shared):
    found = read_fixations(shared / "data/gaze/segment_0_sub-01.tsv")
    assert found.x[0] == pytest.approx(656.3)
    assert found.duration_s[0] == pytest.approx(0.321)
    assert found.start_s is not None
    assert np.isnan(found.start_s).all()
    heat = heat_map(found, (720, 1280), sigma_px=41)
    assert heat.shape == (720, 1280)
    assert heat.sum() == pytest.approx(1)


def write(tmp_path, text):
    path = tmp_path / "gaze.csv"
    path.write_text(text)
    return path


def test_tables_with_other_columns_and_units(tmp_path):
    path = write(tmp_path, "col;row;from;to\n1;2;100;350\n3;4;400;450\n")
    columns = {"x": "col", "y": "row", "start": "from", "end": "to"}
    found = read_fixations(path, columns=columns, seconds=0.001)
    assert found.duration_s.tolist() == pytest.approx([0.25, 0.05])
    assert found.start_s.tolist() == pytest.approx([0.1, 0.4])


def test_tables_that_do_not_tell_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"known to hold x and y; it has col, row, duration: name them"):
        read_fixations(write(tmp_path, "col,row,duration\n1,2,3\n"))
    with pytest.raises(ValueError, match=r"line 3 of gaze\.csv holds 'left'"):
        read_fixations(write(tmp_path, "x,y,duration\n1,2,3\nleft,2,3\n"))
    with pytest.raises(ValueError, match=r"line 2 of gaze\.csv has 2 values for 3 columns"):
        read_fixations(write(tmp_path, "x,y,duration\n1,2\n"))
    with pytest.raises(ValueError, match="no column 'a'"):
        read_fixations(write(tmp_path, "x,y,duration\n1,2,3\n"), columns={"x": "a"})
    with pytest.raises(ValueError, match="is empty"):
        read_fixations(write(tmp_path, "\n"))


def test_shares_of_the_screen_are_not_read_as_pixels(tmp_path):
    (tmp_path / "fixations.csv").write_text("FPOGX,FPOGY,FPOGD\n0.41,0.62,0.3\n", encoding="utf-8")
    with pytest.raises(FileFormatError, match="no column that is known to hold x and y"):
        read_fixations(tmp_path / "fixations.csv")
