"""Pictures from outside: their pixels upright and unreduced, or a refusal that says why; all made here."""

import io
import random
import struct
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from xai_med.errors import FileFormatError
from xai_med.io.images import MOST_PIXELS, read_image

pillow = pytest.importorskip("PIL.Image")

LEVELS = np.arange(6 * 4, dtype=np.uint8).reshape(6, 4) * 10
ORIENTATION = 0x0112


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, *, bits=8, colour=0, rows=b"", before=b""):
    """A PNG of given header, with rows as they are compressed, and chunks before them."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data + chunk(b"IEND", b"")


def written(path, content):
    path.write_bytes(content)
    return path


def encoded(array, kind, **options):
    buffer = io.BytesIO()
    pillow.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


# ---- right

UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.T,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].T,
    8: lambda stored: np.rot90(stored),
}


@pytest.mark.parametrize("orientation", sorted(UPRIGHT))
def test_every_orientation_of_a_camera_is_turned_upright(tmp_path, orientation):
    exif = pillow.Exif()
    exif[ORIENTATION] = orientation
    path = written(tmp_path / "a.png", encoded(LEVELS, "PNG", exif=exif))
    assert_allclose(read_image(path)[0, 0], UPRIGHT[orientation](LEVELS) / 255, atol=1e-7)
    smooth = np.kron(LEVELS, np.ones((8, 8), np.uint8))
    path = written(tmp_path / "a.jpg", encoded(smooth, "JPEG", exif=exif, quality=100))
    assert_allclose(read_image(path)[0, 0], UPRIGHT[orientation](smooth) / 255, atol=2 / 255)


def test_the_content_and_not_the_name_says_what_a_picture_is(tmp_path):
    content = encoded(LEVELS, "PNG")
    expected = read_image(written(tmp_path / "a.png", content))
    for name in ("a.jpg", "a.gif", "a", "a.svg"):
        assert_array_equal(read_image(written(tmp_path / name, content)), expected)


def test_sixteen_bits_of_grey_are_kept(tmp_path):
    levels = np.array([[0, 1], [257, 65535]], np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    path = written(tmp_path / "a.png", png(2, 2, bits=16, rows=rows))
    assert_allclose(read_image(path)[0, 0], levels / 65535, rtol=1e-6)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_few_bits_of_grey_are_scaled_to_one(tmp_path, bits):
    path = written(tmp_path / "a.png", png(1, 2, bits=bits, rows=b"\0\0\0" + bytes([(2**bits - 1) << (8 - bits)])))
    assert read_image(path)[0, 0].tolist() == [[0], [1]]


@pytest.mark.parametrize(
    ("colour", "clear", "pixels"),
    [(0, struct.pack(">H", 200), b"\0\xc8\x64"), (2, struct.pack(">HHH", 9, 8, 7), b"\0\x09\x08\x07\x64\x64\x64")],
)
def test_a_level_that_is_declared_transparent_is_black(tmp_path, colour, clear, pixels):
    path = written(tmp_path / "a.png", png(2, 1, colour=colour, rows=pixels, before=chunk(b"tRNS", clear)))
    assert_allclose(read_image(path)[0, 0], [[0, 100 / 255]], atol=1e-6)


# ---- or refused


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (9_500, 9_500), (9_435, 9_435), (2**31 - 1, 1)])
def test_a_picture_that_unpacks_to_too_many_pixels_is_refused_before_it_is_unpacked(tmp_path, width, height):
    assert width * height > MOST_PIXELS
    path = written(tmp_path / "a.png", png(width, height, rows=bytes(1000)))
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match=r"pixels, at most|more than 89000000 pixels"):
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", [b"zTXt", b"iCCP", b"iTXt"])
def test_compressed_remarks_are_not_unpacked_without_limit(tmp_path, name):
    """Pillow stops at a mebibyte; the picture is read or refused, and memory stays."""
    bomb = zlib.compress(bytes(200_000_000))
    texts = {b"zTXt": b"a\0\0" + bomb, b"iCCP": b"a\0\0" + bomb, b"iTXt": b"a\0\1\0\0\0" + bomb}
    path = written(tmp_path / "a.png", png(1, 1, rows=b"\0\x10", before=chunk(name, texts[name])))
    tracemalloc.start()
    try:
        with suppress(FileFormatError):
            assert read_image(path).shape == (1, 1, 1, 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA", "PDF", "EPS", "JPEG2000"])
def test_other_formats_under_the_name_of_a_png_are_refused(tmp_path, kind):
    try:
        content = encoded(np.stack([LEVELS] * 3, axis=-1), kind)
    except (OSError, KeyError):
        pytest.skip(f"this Pillow cannot write {kind}")
    with pytest.raises(FileFormatError, match="not a readable PNG or JPEG"):
        read_image(written(tmp_path / "a.png", content))


def test_postscript_under_the_name_of_a_png_starts_no_program(tmp_path, monkeypatch):
    plugin = pytest.importorskip("PIL.EpsImagePlugin")
    started = []
    monkeypatch.setattr(plugin, "Ghostscript", lambda *arguments, **options: started.append(arguments))
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(executed) print\n%%EOF\n"
    with pytest.raises(FileFormatError, match="not a readable PNG or JPEG"):
        read_image(written(tmp_path / "a.png", program))
    assert started == []


@pytest.mark.parametrize(
    "content",
    [
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/hostname"/></svg>',
        b'<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/hostname">]><svg>&a;</svg>',
    ],
)
def test_vector_pictures_under_the_name_of_a_png_are_refused(tmp_path, content):
    with pytest.raises(FileFormatError, match="not a readable PNG or JPEG"):
        read_image(written(tmp_path / "a.png", content))


@pytest.mark.parametrize(("kind", "name"), [("PNG", "a.png"), ("MPO", "a.jpg")])
def test_several_pictures_in_one_file_are_refused(tmp_path, kind, name):
    frames = [pillow.fromarray(np.full((4, 4, 3), level, np.uint8)) for level in (10, 200)]
    frames[0].save(tmp_path / name, kind, save_all=True, append_images=frames[1:])
    with pytest.raises(FileFormatError, match="holds 2 pictures"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_sixteen_bits_per_colour_are_refused_because_eight_would_be_lost(tmp_path, colour):
    samples = {2: 3, 4: 2, 6: 4}[colour]
    path = written(tmp_path / "a.png", png(1, 1, bits=16, colour=colour, rows=bytes(1 + 2 * samples)))
    with pytest.raises(FileFormatError, match="16 bits per colour, of which 8 would be lost"):
        read_image(path, channels=3)


def test_sixteen_bits_of_grey_with_a_transparent_level_are_refused(tmp_path):
    path = written(tmp_path / "a.png", png(1, 1, bits=16, rows=bytes(3), before=chunk(b"tRNS", b"\0\0")))
    with pytest.raises(FileFormatError, match="16 bits and a transparent level"):
        read_image(path)


def test_inks_are_refused_because_their_conversion_would_be_guessed(tmp_path):
    path = tmp_path / "a.jpg"
    pillow.fromarray(np.zeros((8, 8, 4), np.uint8), mode=None).convert("CMYK").save(path, "JPEG")
    with pytest.raises(FileFormatError, match="holds CMYK colours; save it as grey or RGB"):
        read_image(path, channels=3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_truncated_pictures_are_refused(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint8)
    content = encoded(noise, kind)
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(FileFormatError, match="not a readable PNG or JPEG"):
            read_image(written(tmp_path / "a", content[: int(share * len(content))]))


def test_random_damage_is_refused_or_read_and_nothing_else(tmp_path):
    exif = pillow.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "maker"
    sound = [encoded(LEVELS, kind, exif=exif) for kind in ("PNG", "JPEG")]
    chance, refused = random.Random(0), 0
    for content in sound:
        for _ in range(300):
            damaged = bytearray(content)
            for _ in range(chance.choice((1, 2, 5))):
                damaged[chance.randrange(min(len(damaged), 300))] = chance.randrange(256)
            try:
                read_image(written(tmp_path / "a", damaged))
            except FileFormatError:
                refused += 1
    assert refused > 100
