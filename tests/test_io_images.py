"""Pictures become network inputs as their pixels are, or are refused."""

import numpy as np
import pytest

from xai_med.errors import FileFormatError, SettingError
from xai_med.io import images
from xai_med.io.images import read_image

pillow = pytest.importorskip("PIL.Image")


def save(path, array, **options):
    pillow.fromarray(array).save(path, **options)
    return path


def test_grey_levels_are_scaled_to_one(tmp_path):
    levels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    read = read_image(save(tmp_path / "a.png", levels))
    assert read.shape == (1, 1, 3, 4)
    assert read.dtype == np.float32
    assert np.allclose(read[0, 0], levels / 255)


def test_sixteen_bits_are_not_clipped(tmp_path):
    levels = np.array([[0, 1000], [40000, 65535]], dtype=np.uint16)
    assert np.allclose(read_image(save(tmp_path / "a.png", levels))[0, 0], levels / 65535)


def test_normalisation_is_per_channel(tmp_path):
    colours = np.zeros((2, 2, 3), dtype=np.uint8)
    colours[..., 1] = 255
    read = read_image(
        save(tmp_path / "a.png", colours), channels=3, mean=(0.5, 0.5, 0.0), standard_deviation=(0.5, 0.25, 1)
    )
    assert np.allclose(read[0, :, 0, 0], [-1, 2, 0])


def test_grey_is_repeated_for_colour_networks(tmp_path):
    read = read_image(save(tmp_path / "a.png", np.full((2, 2), 51, np.uint8)), channels=3)
    assert np.allclose(read, 0.2)
    assert read.shape == (1, 3, 2, 2)


def test_sixteen_bit_grey_is_repeated_too(tmp_path):
    assert read_image(save(tmp_path / "a.png", np.full((2, 2), 9, np.uint16)), channels=3).shape == (1, 3, 2, 2)


def test_size_is_height_and_width(tmp_path):
    assert read_image(save(tmp_path / "a.png", np.zeros((6, 8), np.uint8)), size=(3, 5)).shape == (1, 1, 3, 5)


def test_resizing_keeps_float_precision(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    read = read_image(save(tmp_path / "a.png", ramp), size=(4, 128))
    assert np.allclose(read[0, 0, 0, 10], (ramp[0, 19:23] @ [0.125, 0.375, 0.375, 0.125]) / 255, atol=1e-4)


def test_transparent_pixels_are_black(tmp_path):
    pixels = np.full((2, 2, 4), 255, np.uint8)
    pixels[0, 0, 3] = 0
    assert read_image(save(tmp_path / "a.png", pixels))[0, 0].tolist() == [[0, 1], [1, 1]]


def test_orientation_of_the_camera_is_applied(tmp_path):
    exif = pillow.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    pixels = np.zeros((8, 16), np.uint8)
    assert read_image(save(tmp_path / "a.jpg", pixels, exif=exif)).shape == (1, 1, 16, 8)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\nbroken"])
def test_what_is_no_picture_is_refused(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="not a readable PNG or JPEG"):
        read_image(path)


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match="not a readable"):
        read_image(save(tmp_path / "a.gif", np.zeros((2, 2), np.uint8)))


def test_too_many_pixels_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MOST_PIXELS", 10)
    with pytest.raises(FileFormatError, match="4 x 3 pixels"):
        read_image(save(tmp_path / "a.png", np.zeros((3, 4), np.uint8)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 2}, "1 \\(grey\\) or 3"),
        ({"mean": (0.1, 0.2)}, "one number or 1"),
        ({"standard_deviation": (0.0,)}, "positive"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, settings, message):
    path = save(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(SettingError, match=message):
        read_image(path, **settings)
