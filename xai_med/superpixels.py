"""Parts of an image that are replaced together: superpixels, tiles, or parts that the caller gives."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from xai_med._optional import optional_import
from xai_med.backend.tensors import Array
from xai_med.errors import RegionError, SettingError, ShapeError


def parts_of_images(images: Array, parts: Any, count: int) -> Array:
    """Number the part that each pixel belongs to.

    Parameters
    ----------
    images : ndarray of shape (N, C, *space)
        To be divided.
    parts : str or integer array of shape (*space) or (N, *space)
        ``"slic"``: superpixels (Achanta et al. 2012, doi:10.1109/TPAMI.2012.120; needs scikit-image), of one space
        axis: tiles; ``"tiles"``: blocks of equal size; or the parts themselves, as any integers.
    count : int
        Of superpixels or tiles; about, as shapes allow.

    Returns
    -------
    ndarray of shape (N, *space), int64
        From 0, without gaps, image by image.

    Raises
    ------
    SettingError
        Another word, or fewer than two parts asked for.
    ShapeError
        An array of another shape.
    RegionError
        An image has one part only.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 2:
        raise SettingError(f"the number of parts must be at least 2, got {count!r}")
    space = images.shape[2:]
    if isinstance(parts, str):
        if parts not in ("slic", "tiles"):
            raise SettingError(f"parts={parts!r} is unknown; give 'slic', 'tiles' or an array of integers")
        is_tiled = parts == "tiles" or len(space) == 1
        labels = [_tiles(space, count) if is_tiled else _superpixels(image, count) for image in images]
    else:
        given = np.asarray(parts)
        if given.dtype.kind not in "iub" or given.shape not in (space, (len(images), *space)):
            raise ShapeError(
                f"parts are integers of shape {space} or {(len(images), *space)}, got {given.dtype} of {given.shape}"
            )
        labels = list(np.broadcast_to(given, (len(images), *space)))
    numbered = np.stack([np.unique(each, return_inverse=True)[1].reshape(space) for each in labels])
    for index, each in enumerate(numbered):
        if each.max() == 0:
            raise RegionError(f"image {index} has one part only, so that nothing can be told apart; ask for more parts")
    return numbered.astype(np.int64)


def _superpixels(image: Array, count: int) -> Array:
    """SLIC over all channels, each brought to the range 0 to 1."""
    slic = optional_import("skimage.segmentation", extra="viz").slic
    axes = tuple(range(1, image.ndim))
    low, high = image.min(axis=axes, keepdims=True), image.max(axis=axes, keepdims=True)
    scaled = ((image - low) / np.where(high > low, high - low, 1)).astype(np.float64)
    found: Array = slic(scaled, n_segments=count, compactness=0.1, channel_axis=0, convert2lab=False, start_label=0)
    return found


def _tiles(space: tuple[int, ...], count: int) -> Array:
    """Blocks as near to cubes as the image's shape allows."""
    side = (math.prod(space) / count) ** (1 / len(space))
    labels = np.zeros(space, dtype=np.int64)
    for axis, size in enumerate(space):
        number = min(size, max(1, round(size / side)))
        along = (np.arange(size) * number) // size
        labels = labels * number + along.reshape(-1, *(1,) * (len(space) - axis - 1))
    return labels


def masks_of_choices(labels: Array, kept: Sequence[Array], total: int) -> Iterator[Array]:
    """Ones where a part is kept, (N, *space), choice by choice.

    Parameters
    ----------
    labels : ndarray of shape (N, *space)
        As `parts_of_images` gives them.
    kept : sequence of N ndarray of shape (choices, parts)
        Ones and zeros; of an image with fewer choices than others the last one is repeated.
    total : int
        Most choices of an image.
    """
    for index in range(total):
        flags = [each[min(index, len(each) - 1)] for each in kept]
        yield np.stack([one[each] for each, one in zip(labels, flags, strict=True)])
