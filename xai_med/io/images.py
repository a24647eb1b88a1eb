"""Reads pictures as images for a network."""

from os import PathLike
from pathlib import Path

import numpy as np

from xai_med._optional import optional_import
from xai_med.backend.tensors import Array
from xai_med.errors import FileFormatError, SettingError

MOST_PIXELS = 100_000_000
_FORMATS = ("PNG", "JPEG")


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
        Neither PNG nor JPEG, damaged, or too large.
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
            if file.width * file.height > MOST_PIXELS:
                raise FileFormatError(f"{path} has {file.width} x {file.height} pixels, at most {MOST_PIXELS} are read")
            upright = operations.exif_transpose(file)
            if upright.mode.startswith("I") or upright.mode == "F":  # 16-bit grey: converting to "L" would clip it
                levels = np.asarray(upright, dtype=np.float64) / 65535.0
                grey = library.fromarray(levels.astype(np.float32), mode="F")
            else:
                if upright.mode in (
                    "RGBA",
                    "LA",
                    "PA",
                    "P",
                ):  # transparent pixels become black, not whatever lies under
                    upright = library.alpha_composite(
                        library.new("RGBA", upright.size, (0, 0, 0, 255)), upright.convert("RGBA")
                    )
                grey = upright.convert("L" if channels == 1 else "RGB")
                levels = np.asarray(grey, dtype=np.float64) / 255.0
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, library.DecompressionBombError) as error:
        raise FileFormatError(f"{path} is not a readable PNG or JPEG: {error}") from error
    planes = levels[None] if levels.ndim == 2 else np.moveaxis(levels, -1, 0)
    if size is not None:
        planes = np.stack([_resized(plane, size, library) for plane in planes])
    return np.repeat(planes, channels, axis=0) if len(planes) == 1 and channels == 3 else planes


def _resized(plane: Array, size: tuple[int, int], library: object) -> Array:
    image = library.fromarray(plane.astype(np.float32), mode="F")  # type: ignore[attr-defined]
    return np.asarray(image.resize((size[1], size[0]), library.Resampling.BILINEAR), dtype=np.float64)  # type: ignore[attr-defined]
