import numpy as np
import pytest

from xai_med.errors import DtypeError, SettingError, ShapeError
from xai_med.render import chexnet_levels, chexnet_montage, chexnet_tile, montage
from xai_med.render.montage import CAPTION_HEIGHT

GREY = np.random.default_rng(0).integers(0, 256, size=(224, 224), dtype=np.uint8)
CAM = np.random.default_rng(1).normal(size=(7, 7))


def test_tiles_stay_as_they_are_row_by_row():
    tiles = np.random.default_rng(0).random((3, 40, 60, 3))
    result = montage(list(tiles), ["a", "b", "c"], columns=2)
    height = 40 + CAPTION_HEIGHT
    assert result.shape == (2 * height, 120, 3)
    np.testing.assert_array_equal(result[:40, 60:], tiles[1])
    np.testing.assert_array_equal(result[height : height + 40, :60], tiles[2])
    assert not result[height:, 60:].any()


def test_captions_stand_below_their_tiles():
    result = montage([np.zeros((40, 60, 3))] * 2, ["", "text"])
    assert not result[40:, :60].any()
    assert result[40:, 60:].max() > 0.9


def test_a_caption_that_is_too_long_stays_inside_its_tile():
    result = montage([np.zeros((40, 80, 3))] * 2, ["a very long name " * 20, ""])
    assert result[40:, :80].any()
    assert not result[40:, 76:].any()


def test_the_number_of_captions_must_fit():
    with pytest.raises(SettingError, match="1 captions are needed"):
        montage([np.zeros((4, 4, 3))], ["a", "b"])


def test_tiles_of_different_sizes_are_refused():
    with pytest.raises(ShapeError, match=r"share one shape \(H, W, 3\)"):
        montage([np.zeros((4, 4, 3)), np.zeros((5, 4, 3))], ["a", "b"])


def test_colours_outside_zero_to_one_are_refused():
    with pytest.raises(SettingError, match="from 0 to 1"):
        montage([np.full((4, 40, 3), 255.0)], ["a"])


def test_no_columns_are_refused():
    with pytest.raises(SettingError, match="columns must be at least 1"):
        montage([np.zeros((4, 40, 3))], ["a"], columns=0)


def test_normalising_before_resizing_tops_out_at_191():
    assert chexnet_levels([[0.0, 1.0, 0.0]], (1, 6)).tolist() == [[0, 63, 191, 191, 63, 0]]


def test_the_published_blend_never_exceeds_204():
    assert chexnet_tile(np.full((224, 224), 255, np.uint8), CAM).max() <= 204


def test_a_published_tile_is_red_where_hot_and_blue_where_cold():
    cam = np.zeros((7, 7))
    cam[:3] = 1.0
    tile = chexnet_tile(np.zeros((224, 224), np.uint8), cam)
    assert tile[0, 0].tolist() == [38, 0, 0]
    assert tile[-1, -1].tolist() == [0, 0, 38]


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_map_does_not_become_nan(value):
    tile = chexnet_tile(GREY, np.full((7, 7), value))
    np.testing.assert_array_equal(tile[..., 2].astype(int), (0.3 * 128 + 0.5 * GREY).astype(int))


def test_the_montage_holds_the_original_and_the_tiles():
    result = chexnet_montage(GREY, np.stack([CAM] * 5), ["Mass: 0.60%"] * 5, columns=3)
    assert result.shape == (448, 672, 3)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result[:200, :224], np.repeat(GREY[:200, :, None], 3, axis=2))
    np.testing.assert_array_equal(result[:200, 224:448], chexnet_tile(GREY, CAM)[:200])


def test_captions_are_white_on_the_published_baseline():
    result = chexnet_montage(np.zeros((224, 224), np.uint8), CAM[None], ["HHH"], columns=2)
    lettering = (result[:, 224:] == 255).all(axis=-1)
    rows, columns = np.nonzero(lettering)
    assert rows.max() in (217, 218, 219)
    assert columns.min() in (5, 6, 7)


def test_a_colour_image_keeps_its_channels():
    colour = np.zeros((224, 224, 3), np.uint8)
    colour[..., 1] = 200
    cold = np.zeros((7, 7))
    cold[0, 0] = 1.0
    assert chexnet_tile(colour, cold)[-1, -1].tolist() == [0, 100, 38]


@pytest.mark.parametrize(
    ("image", "settings", "error", "text"),
    [
        (GREY / 255, {}, DtypeError, "uint8 image, got float64"),
        (GREY[:100], {}, ShapeError, "must be 224 x 224"),
        (GREY, {"tile": 112}, ShapeError, "must be 112 x 112"),
        (GREY[None], {}, ShapeError, r"\(H, W\) or \(H, W, 3\)"),
    ],
)
def test_what_the_published_montage_cannot_take_is_refused(image, settings, error, text):
    with pytest.raises(error, match=text):
        chexnet_montage(image, CAM[None], ["a"], **settings)
