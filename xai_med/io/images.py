"""Reads pictures as images for a network."""

import struct
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from xai_med._optional import optional_import
from xai_med.backend.tensors import Array
from xai_med.errors import FileFormatError, SettingError

MOST_PIXELS = 89_000_000
"""Below the number at which Pillow itself begins to warn."""

_FORMATS = ("PNG", "JPEG")
# what Pillow's readers of headers and EXIF raise on a damaged file; its warnings too, where warnings are errors
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    struct.error,
    UserWarning,
)
_GREY_LEVELS = ("1", "L", "LA")
_SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L")
_COLOURS = ("P", "PA", "RGB", "RGBA")


def read_image(
    path: str | PathLike[str],
    *,
    channels: int = 1,
    size: tuple[int, int] | None = None,
    mean: tuple[float, ...] = (0.0,),
    standard_deviation: tuple[float, ...] = (1.0,),
) -> Array:
    """Read a PNG or JPEG as (1, C, H, W), scaled to 0..1 and then normalised.

    Parameters
    ----------
    path : path
        At most `MOST_PIXELS` pixels; the EXIF orientation is applied.
    channels : int
        1 for grey, 3 for red, green, blue.
    size : (int, int), optional
        Height and width to resize to (bilinear with anti-aliasing; the aspect ratio is not kept).
    mean, standard_deviation : tuple of float
        One number or one per channel, of values from 0 to 1.

    Returns
    -------
    ndarray of shape (1, C, H, W), float32

    Raises
    ------
    FileFormatError
        Neither PNG nor JPEG by content, whatever the name; damaged, too large, or several pictures in one file; in
        CMYK, or with 16 bits per colour, which would be converted or reduced.
    SettingError
        `channels` is neither 1 nor 3, or a standard deviation is not positive.
    """
    if channels not in (1, 3):
        raise SettingError(f"channels is 1 (grey) or 3 (colour), got {channels}")
    centre, spread = (np.asarray(values, dtype=np.float64).reshape(-1, 1, 1) for values in (mean, standard_deviation))
    if {len(centre), len(spread)} - {1, channels} or (spread <= 0).any():
        raise SettingError(f"mean and standard deviation need one number or {channels}, positive deviations")
    pixels = _pixels(Path(path), channels, size)
    return np.asarray((pixels - centre) / spread, dtype=np.float32)[None]


def _pixels(path: Path, channels: int, size: tuple[int, int] | None) -> Array:
    """Values from 0 to 1, (C, H, W)."""
    library, operations = (optional_import(f"PIL.{name}", extra="viz") for name in ("Image", "ImageOps"))
    try:
        with library.open(path, formats=_FORMATS) as file:
            _refuse_what_would_be_guessed(path, file)
            levels = _levels(operations.exif_transpose(file), channels, library)
    except (FileNotFoundError, FileFormatError):
        raise
    except (library.DecompressionBombError, library.DecompressionBombWarning) as error:
        raise FileFormatError(f"{path} has more than {MOST_PIXELS} pixels: {error}") from error
    except _DAMAGE as error:
        raise FileFormatError(f"{path} is not a readable PNG or JPEG: {error}") from error
    planes = levels[None] if levels.ndim == 2 else np.moveaxis(levels, -1, 0)
    if size is not None:
        planes = np.stack([_resized(plane, size, library) for plane in planes])
    return np.repeat(planes, channels, axis=0) if len(planes) == 1 and channels == 3 else planes


def _refuse_what_would_be_guessed(path: Path, file: Any) -> None:
    """Refuse pictures that are too large, are several, or whose levels Pillow would reduce or convert in silence."""
    if file.width * file.height > MOST_PIXELS:
        raise FileFormatError(f"{path} has {file.width} x {file.height} pixels, at most {MOST_PIXELS} are read")
    if getattr(file, "n_frames", 1) != 1:
        raise FileFormatError(f"{path} holds {file.n_frames} pictures; save the one to be read by itself")
    if file.mode not in _GREY_LEVELS + _SIXTEEN_BITS + _COLOURS:
        raise FileFormatError(
            f"{path} holds {file.mode} colours; save it as grey or RGB, which only you can do rightly"
        )
    # what the decoder is told about the file, such as "RGB;16B" where Pillow's own mode says "RGB"
    if file.mode not in _SIXTEEN_BITS and any("16" in str(tile[3]) for tile in file.tile):
        raise FileFormatError(f"{path} has 16 bits per colour, of which 8 would be lost; only grey is read at 16 bits")
    if file.mode in _SIXTEEN_BITS and "transparency" in file.info:
        raise FileFormatError(f"{path} has 16 bits and a transparent level; save it without transparency")


def _levels(upright: Any, channels: int, library: Any) -> Array:
    """Values from 0 to 1, (H, W) or (H, W, 3)."""
    if upright.mode in _SIXTEEN_BITS:  # converting to "L" would clip it
        return np.asarray(upright, dtype=np.float64) / 65535.0
    if "A" in upright.mode or upright.mode == "P" or "transparency" in upright.info:
        # transparent pixels become black, not whatever lies under
        black = library.new("RGBA", upright.size, (0, 0, 0, 255))
        upright = library.alpha_composite(black, upright.convert("RGBA"))
    return np.asarray(upright.convert("L" if channels == 1 else "RGB"), dtype=np.float64) / 255.0


def _resized(plane: Array, size: tuple[int, int], library: object) -> Array:
    image = library.fromarray(plane.astype(np.float32), mode="F")  # type: ignore[attr-defined]
    return np.asarray(image.resize((size[1], size[0]), library.Resampling.BILINEAR), dtype=np.float64)  # type: ignore[attr-defined]
