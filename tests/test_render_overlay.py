import subprocess
import sys

import numpy as np
import pytest

from xai_med.errors import FileFormatError, NonFiniteError, SettingError, ShapeError
from xai_med.render import choose_slice, displayed, overlay, picture, save_figure
from xai_med.render.overlay import CONTOUR_COLOUR, HIGHEST_OPACITY

IMAGE = np.random.default_rng(0).normal(100, 30, size=(12, 9))
HOT = np.zeros((12, 9))
HOT[3, 7] = 2.0


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in (*axes.texts, axes.title)]


def drawn_pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).copy()


def test_the_hot_pixel_stays_where_it_is():
    change = np.abs(overlay(IMAGE, HOT) - displayed(IMAGE, space=2)).sum(axis=-1)
    assert np.unravel_index(change.argmax(), change.shape) == (3, 7)
    assert np.count_nonzero(change) == 1


@pytest.mark.parametrize("opacity", ["value", 0.5, 1.0])
def test_an_all_zero_map_shows_the_plain_image(opacity):
    np.testing.assert_array_equal(
        overlay(IMAGE, np.zeros((12, 9)), opacity=opacity, contour=0.5), displayed(IMAGE, space=2)
    )


@pytest.mark.parametrize("shape", [(12, 9), (1, 12, 9), (3, 12, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_any_range_of_image_is_shown_from_black_to_white(shape, dtype):
    image = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    shown = displayed(image, space=2)
    assert shown.shape == (12, 9, 3)
    assert (shown.min(), shown.max()) == (0.0, 1.0)


def test_a_constant_image_is_mid_grey():
    np.testing.assert_array_equal(displayed(np.full((4, 4), 7), space=2), np.full((4, 4, 3), 0.5))


def test_full_opacity_shows_the_colour_alone():
    result = overlay(IMAGE, HOT, opacity=1.0)
    np.testing.assert_allclose(result[3, 7], [0.988, 0.998, 0.645], atol=1e-3)


def test_opacity_by_value_is_proportional_to_the_magnitude():
    relevance = np.tile([0.0, 1.0, 2.0, 4.0], (4, 1))
    white = np.full((4, 4), 1.0)
    white[0, 0] = 0.0
    change = overlay(white, relevance, colour_map="opencv_jet", signed=False)[3, :, 2]  # hottest has no blue
    assert change[0] == 1.0
    np.testing.assert_allclose(1.0 - change[3], HIGHEST_OPACITY, atol=1e-12)


def test_a_signed_map_shows_for_red_and_against_blue():
    relevance = np.zeros((12, 9))
    relevance[2, 2], relevance[8, 5] = 1.0, -1.0
    result = overlay(np.zeros((12, 9)), relevance)
    assert result[2, 2, 0] > result[2, 2, 2]
    assert result[8, 5, 2] > result[8, 5, 0]
    np.testing.assert_array_equal(result[0, 0], 0.5)


def test_the_map_does_not_depend_on_its_scale():
    relevance = np.random.default_rng(0).random((12, 9))
    np.testing.assert_allclose(overlay(IMAGE, relevance * 1e-10), overlay(IMAGE, relevance), atol=1e-9)


def test_the_contour_runs_inside_the_region_at_the_fraction_of_the_maximum():
    y, x = np.mgrid[:21, :21]
    relevance = np.exp(-((y - 10) ** 2 + (x - 10) ** 2) / 30.0)
    result = overlay(np.zeros((21, 21)), relevance, contour=0.5)
    outline = (result == CONTOUR_COLOUR).all(axis=-1)
    assert outline.any()
    assert relevance[outline].min() >= 0.5
    assert not outline[10, 10]


def test_no_contour_around_evidence_that_is_weak_on_a_given_scale():
    result = overlay(IMAGE, HOT, contour=0.5, limits=(0, 100))
    assert not (result == CONTOUR_COLOUR).all(axis=-1).any()


def test_no_argument_is_written_to():
    image, relevance = IMAGE.copy(), HOT.copy()
    image.setflags(write=False)
    relevance.setflags(write=False)
    overlay(image, relevance, contour=0.5)


@pytest.mark.parametrize(
    ("image", "relevance", "settings", "error", "text"),
    [
        (IMAGE, HOT.T, {}, ShapeError, "differ in space.*resize"),
        (np.zeros((12, 9, 3)), HOT, {}, ShapeError, "move the channels to the front"),
        (IMAGE, HOT * np.nan, {}, NonFiniteError, "relevance holds 108"),
        (IMAGE * np.inf, HOT, {}, NonFiniteError, "image holds"),
        (IMAGE, HOT, {"opacity": 1.5}, SettingError, "opacity is a number from 0 to 1"),
        (IMAGE, HOT, {"opacity": "auto"}, SettingError, "or 'value', got 'auto'"),
        (IMAGE, HOT, {"contour": 0.0}, SettingError, "fraction of the maximum"),
    ],
)
def test_what_cannot_be_overlaid_is_refused(image, relevance, settings, error, text):
    with pytest.raises(error, match=text):
        overlay(image, relevance, **settings)


@pytest.mark.parametrize(("axis", "index"), [(0, 1), (1, 3), (2, 5)])
def test_the_slice_with_the_most_relevance_is_chosen_whatever_its_sign(axis, index):
    relevance = np.zeros((4, 5, 6))
    relevance[1, 3, 5], relevance[0, 0, 0] = -2.0, 1.0
    assert choose_slice(relevance, axis=axis).index == index
    assert choose_slice(relevance, axis=axis).of(relevance).min() == -2.0


def test_a_zero_volume_shows_its_middle():
    assert str(choose_slice(np.zeros((9, 2, 2)))) == "slice 4 of 0..8, axis 0"


def test_a_slice_outside_the_volume_is_refused():
    with pytest.raises(SettingError, match=r"slice 4 was asked for, axis 0 has 4 slices \(0..3\)"):
        choose_slice(np.zeros((4, 2, 2)), index=4)


@pytest.mark.parametrize("space", [(50,), (12, 9), (4, 12, 9)])
@pytest.mark.parametrize("scale", ["each", "shared"])
def test_figures_of_one_two_and_three_dimensions_are_drawn(space, scale):
    maps = np.random.default_rng(0).normal(size=(4, *space))
    maps[2] = 0.0
    figure = picture(maps[:1], maps, captions=["a", "b", "c", "d"], scale=scale)
    assert np.ptp(drawn_pixels(figure)) > 0
    assert "no evidence (map is zero)" in texts(figure)


def test_hostile_captions_are_shown_as_they_are():
    hostile = ["$\\broken{$", "50 % $", "_x_\x07\nline"]
    figure = picture(IMAGE, np.stack([HOT] * 3), captions=hostile, title="$\\broken{$")
    drawn_pixels(figure)
    assert "$\\broken{$" in texts(figure)
    assert "_x_ line" in " ".join(texts(figure)).replace("  ", " ")
    assert figure.get_suptitle() == "$\\broken{$"


def test_a_volume_names_its_slices():
    maps = np.zeros((1, 4, 5, 6))
    maps[0, 3, 1, 1] = 1.0
    figure = picture(maps, maps, captions=["lesion"])
    assert "lesion\nslice 3 of 0..3, axis 0" in texts(figure)


def test_colour_bars_show_raw_values_with_zero_in_the_middle_of_signed_ones():
    figure = picture(IMAGE, np.stack([HOT, -3 * HOT]), captions=["for", "against"])
    bars = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes[3:]]
    assert bars == [["-2", "0", "2"], ["-6", "0", "6"]]


def test_a_shared_scale_draws_one_colour_bar_and_names_the_faint_map():
    figure = picture(IMAGE, np.stack([HOT, HOT / 1000]), captions=["strong", "weak"], scale="shared")
    assert len(figure.axes) == 4
    assert "faint: at most 0.002" in texts(figure)


def test_values_beyond_given_limits_give_the_colour_bar_an_arrow():
    figure = picture(IMAGE, HOT[None], captions=["a"], limits=(0, 1))
    assert figure.axes[2]._colorbar.extend == "max"


def test_a_uniform_map_is_named():
    assert "uniform map (0.3 everywhere)" in texts(picture(IMAGE, np.full((1, 12, 9), 0.3), captions=["a"]))


def test_the_curve_below_a_signal_is_the_relevance():
    relevance = np.sin(np.arange(50) / 5)
    figure = picture(np.zeros((2, 50)), relevance[None], captions=["a"])
    np.testing.assert_array_equal(figure.axes[2].lines[0].get_ydata(), relevance)


def test_pyplot_is_not_loaded():
    code = (
        "import sys, numpy as np; from xai_med.render import picture;"
        "picture(np.eye(4), np.eye(4)[None], captions=['a']).canvas.draw();"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "False"


def test_spacing_sets_the_proportion_of_pixels():
    figure = picture(IMAGE, HOT[None], captions=["a"], spacing_mm=(3.0, 1.0))
    assert figure.axes[1].get_aspect() == 3.0


def test_columns_set_the_grid():
    figure = picture(IMAGE, np.stack([HOT] * 3), captions=["a", "b", "c"], columns=1)
    assert figure.axes[0].get_gridspec().ncols == 1


@pytest.mark.parametrize(
    ("maps", "settings", "error", "text"),
    [
        (HOT[None], {"captions": []}, SettingError, "1 captions are needed"),
        (HOT[None], {"captions": "a"}, SettingError, "1 captions are needed"),
        (HOT.T[None], {"captions": ["a"]}, ShapeError, "differ in space"),
        (HOT[None], {"captions": ["a"], "scale": "all"}, SettingError, "'each' or 'shared'"),
        (HOT[None], {"captions": ["a"], "columns": 0}, SettingError, "at least 1"),
        (HOT[None], {"captions": ["a"], "spacing_mm": (1.0,)}, SettingError, "2 positive numbers"),
    ],
)
def test_what_cannot_be_pictured_is_refused(maps, settings, error, text):
    with pytest.raises(error, match=text):
        picture(IMAGE, maps, **settings)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_figures_are_saved_by_suffix(tmp_path, suffix):
    path = save_figure(picture(IMAGE, HOT[None], captions=["a"]), tmp_path / f"map.{suffix}")
    assert path.stat().st_size > 1000


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"'map\.xyz' does not end in a known format; use one of"):
        save_figure(picture(IMAGE, HOT[None], captions=["a"]), tmp_path / "map.xyz")
