"""Tiles with captions: our own montage on floats, and the published CheXNet montage to the grey level."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import DtypeError, SettingError, ShapeError
from xai_med.maps.finite import finite_floats
from xai_med.maps.normalise import min_max
from xai_med.maps.resize import resize
from xai_med.render.colour import OPENCV_JET, colour_table, to_bytes
from xai_med.render.text import draw_text

CHEXNET_PROFILE = "paddle_chexnet"
"""The published convention: min-max, resize half-pixel, truncate, JET, 0.3 heat + 0.5 image, truncate."""

CAPTION_HEIGHT = 22
"""Pixels of the strip below a tile."""


def montage(tiles: Sequence[ArrayLike], captions: Sequence[str], *, columns: int | None = None) -> Array:
    """Put tiles on a grid, row by row, each with its caption in a strip below.

    Parameters
    ----------
    tiles : sequence of array-like of shape (H, W, 3)
        Colours from 0 to 1, all of one size, such as `overlay` returns.
    captions : sequence of str
        One per tile, shown literally. A text that is too wide gets smaller, then an ellipsis.
    columns : int, optional
        Tiles per row; by default at most 5.

    Returns
    -------
    ndarray of shape (rows * (H + CAPTION_HEIGHT), columns * W, 3), float64
        From 0 to 1; places without a tile are black.

    Raises
    ------
    ShapeError
        Tiles differ in size, or there are none.
    SettingError
        Captions and tiles differ in number, or `columns` is below 1.
    """
    colours = [finite_floats(tile, "tile").astype(np.float64) for tile in tiles]
    shape = colours[0].shape if colours else ()
    if len(shape) != 3 or shape[2] != 3 or any(tile.shape != shape for tile in colours):
        raise ShapeError(f"tiles share one shape (H, W, 3), got {[tile.shape for tile in colours]}")
    _check_number(captions, len(colours))
    blocks = []
    for tile, caption in zip(colours, captions, strict=True):
        to_bytes(tile)  # refuses colours that are not in 0..1
        ink = draw_text(CAPTION_HEIGHT, shape[1], caption, baseline=CAPTION_HEIGHT - 7)
        blocks.append(np.concatenate([tile, np.repeat(ink[..., None], 3, axis=2)]))
    return _grid(blocks, min(5, len(blocks)) if columns is None else columns)


def chexnet_montage(
    image: ArrayLike, maps: ArrayLike, captions: Sequence[str], *, columns: int = 5, tile: int = 224
) -> Array:
    """Draw the montage that Paddle-CheXNet published: the original, then one tile per class.

    For comparison with published pictures only: each map is stretched to the full range of colours, so a
    class that the model denies looks as hot as one that it affirms. `montage` and `picture` do not.

    Parameters
    ----------
    image : array-like of shape (tile, tile) or (tile, tile, 3), uint8
        The crop that the network saw, before normalisation; red, green, blue.
    maps : array-like of shape (K, h, w)
        Raw class activation maps. A constant one becomes all blue, where the published code gives NaN.
    captions : sequence of str
        One per map, ``"Name: pp.pp%"`` in the published form.
    columns : int
        Tiles per row.
    tile : int
        Height and width of a tile.

    Returns
    -------
    ndarray of shape (rows * tile, columns * tile, 3), uint8
        Red, green, blue (OpenCV's order is reversed). Equal to the published pixels within 2 levels, except
        for the lettering, which is Pillow's.

    References
    ----------
    jm12138/Paddle-CheXNet, `vis_cam`; Rajpurkar et al. 2017, arXiv:1711.05225.
    """
    grey = _byte_image(image)
    cams = finite_floats(maps, "maps")
    if grey.shape[:2] != (tile, tile):
        raise ShapeError(f"image must be {tile} x {tile}, got {grey.shape}; resize and crop it, or set tile=")
    if cams.ndim != 3:
        raise ShapeError(f"maps have shape (K, h, w), got {cams.shape}")
    _check_number(captions, len(cams))
    tiles = [grey, *(chexnet_tile(grey, cam) for cam in cams)]
    lettered = [_lettered(t, caption) for t, caption in zip(tiles, ("Original", *captions), strict=True)]
    return _grid(lettered, columns)


def chexnet_tile(image: ArrayLike, cam: ArrayLike) -> Array:
    """Draw one tile of `chexnet_montage` without its caption.

    Parameters
    ----------
    image : array-like of shape (H, W) or (H, W, 3), uint8
        Red, green, blue.
    cam : array-like of shape (h, w)
        Raw.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8
        At most 204.
    """
    grey = _byte_image(image)
    jet = np.rint(255.0 * colour_table(OPENCV_JET))
    heat = jet[chexnet_levels(cam, (grey.shape[0], grey.shape[1]))]
    return (0.3 * heat + 0.5 * grey).astype(np.uint8)  # truncated, as published


def chexnet_levels(cam: ArrayLike, space: tuple[int, int]) -> Array:
    """Scale a map to 0..1, then resize it half-pixel, then truncate to uint8 levels 0..255, as published.

    Parameters
    ----------
    cam : array-like of shape (h, w)
        Raw; zeros if constant.
    space : (int, int)
        Height and width of the result. The peak falls below 255 where it lies between two pixels.
    """
    scaled = min_max(np.asarray(cam, dtype=np.float64), 2).values
    levels: Array = np.clip(255.0 * resize(scaled, space), 0.0, 255.0).astype(np.uint8)
    return levels


def _byte_image(image: ArrayLike) -> Array:
    array = np.asarray(image)
    if array.dtype != np.uint8:
        raise DtypeError(f"the published montage starts from a uint8 image, got {array.dtype}; use montage for floats")
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ShapeError(f"the image has shape (H, W) or (H, W, 3), got {array.shape}")
    return array


def _lettered(tile: Array, caption: str) -> Array:
    ink = draw_text(tile.shape[0], tile.shape[1], caption, baseline=tile.shape[0] - 5)[..., None]
    return np.rint(tile * (1.0 - ink) + 255.0 * ink).astype(np.uint8)


def _check_number(captions: Sequence[str], expected: int) -> None:
    if isinstance(captions, str) or len(captions) != expected:
        raise SettingError(f"{expected} captions are needed, one for each, got {captions!r}")


def _grid(blocks: Sequence[Array], columns: int) -> Array:
    if columns < 1:
        raise SettingError(f"columns must be at least 1, got {columns}")
    height, width = blocks[0].shape[:2]
    rows = -(-len(blocks) // columns)
    grid = np.zeros((rows * height, columns * width, 3), dtype=blocks[0].dtype)
    for number, block in enumerate(blocks):
        row, column = divmod(number, columns)
        grid[row * height : (row + 1) * height, column * width : (column + 1) * width] = block
    return grid
