import subprocess
import sys

import numpy as np
import pytest

import xai_med.render
from xai_med.errors import NonFiniteError, SettingError, UnknownNameError
from xai_med.render import colourise, scale_for, to_bytes
from xai_med.render.colour import colour_table


def lightness(rgb):
    return rgb @ np.array([0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("name", ["inferno", "cividis", "opencv_jet"])
@pytest.mark.parametrize("factor", [1.0, 1e-10, 255.0, 256.0, 1e10])
def test_hottest_pixel_gets_the_last_colour_and_zero_the_first(name, factor):
    colours = colourise(np.array([0.0, 0.3, 1.0]) * factor, colour_map=name)
    np.testing.assert_array_equal(colours[0], colour_table(name)[0])
    np.testing.assert_array_equal(colours[-1], colour_table(name)[-1])


@pytest.mark.parametrize("name", ["inferno", "cividis"])
def test_lightness_rises_with_the_value(name):
    steps = np.diff(lightness(colourise(np.linspace(0, 1, 2001), colour_map=name)))
    assert (steps > -1e-4).all()
    assert steps.sum() > 0.5


def test_neighbouring_values_within_one_table_entry_get_different_colours():
    colours = colourise([0.5, 0.5005, 1.0])
    assert np.abs(colours[1] - colours[0]).max() > 0


def test_negative_values_make_the_scale_signed_with_zero_in_the_middle():
    scale = scale_for([-1.0, 0.0, 4.0])
    assert (scale.colour_map, scale.low, scale.high, scale.signed) == ("RdBu_r", -4.0, 4.0, True)
    red, _, blue = colourise([-1.0, 0.0, 4.0])[2]
    assert red > blue
    np.testing.assert_allclose(colourise([-4.0, 0.0, 4.0])[1], [0.966, 0.967, 0.968], atol=0.01)


def test_a_diverging_map_of_positive_values_still_has_zero_in_the_middle():
    assert scale_for([0.0, 3.0], colour_map="PiYG_r").low == -3.0


def test_an_offset_does_not_take_zero_off_the_scale():
    assert (scale_for([10.0, 12.0]).low, scale_for([10.0, 12.0]).high) == (0.0, 12.0)


@pytest.mark.parametrize(("signed", "index"), [(False, 0.0), (True, 0.5)])
def test_an_all_zero_map_gets_the_colour_of_zero(signed, index):
    scale = scale_for(np.zeros(3), signed=signed)
    expected = colourise([index], colour_map=scale.colour_map, limits=(0, 1), signed=False)
    np.testing.assert_allclose(colourise(np.zeros(1), signed=signed), expected)


def test_values_beyond_given_limits_get_the_end_colours():
    np.testing.assert_array_equal(colourise([-9.0, 9.0], limits=(0, 1)), colourise([0.0, 1.0], limits=(0, 1)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        colourise([0.0, bad])


def test_opencv_jet_has_its_published_corners():
    table = np.rint(255 * colour_table("opencv_jet")).astype(int)
    np.testing.assert_array_equal(table[[0, 255]], [[0, 0, 128], [128, 0, 0]])
    np.testing.assert_array_equal(table[127:129].sum(axis=0) // 2, [128, 255, 128])


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"limits": (1, 1)}, SettingError, "low < high"),
        ({"limits": (-1, 2)}, SettingError, r"zero in the middle, got limits \(-1, 2\); use \(-2, 2\)"),
        ({"limits": (0, np.inf)}, NonFiniteError, "limits must be finite"),
        ({"colour_map": "jetset"}, UnknownNameError, "no colour map 'jetset'; take 'inferno'"),
    ],
)
def test_impossible_scales_are_refused(settings, error, text):
    with pytest.raises(error, match=text):
        colourise([0.0, 1.0], **settings)


def test_bytes_are_rounded_to_nearest_once():
    np.testing.assert_array_equal(to_bytes([0.0, 0.499 / 255, 0.501 / 255, 1.0, 1 + 1e-16]), [0, 0, 1, 255, 255])


def test_bytes_never_wrap():
    with pytest.raises(SettingError, match="from 0 to 1"):
        to_bytes([1.01])


def test_importing_render_loads_no_drawing_library():
    code = "import sys, xai_med.render; print([m for m in ('matplotlib', 'PIL', 'skimage') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_exported_names_are_sorted_and_exist():
    assert xai_med.render.__all__ == sorted(xai_med.render.__all__)
    assert all(hasattr(xai_med.render, name) for name in xai_med.render.__all__)
