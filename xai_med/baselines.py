"""Images without what is to be explained: what paths begin at, and what removed pixels are replaced by."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy import ndimage

from xai_med.backend.tensors import Array
from xai_med.errors import NonFiniteError, SettingError, ShapeError

Baseline: TypeAlias = "float | str | Array | Sequence[Any]"
"""A number; one number per channel; ``"mean"`` or ``"blur"`` of each image; an image; one image per image."""

_BLUR = 1 / 20
"""Standard deviation of the blur along each space axis, as a share of its size."""


def baseline_images(images: Array, baseline: Baseline) -> Array:
    """One baseline for each image.

    Parameters
    ----------
    images : ndarray of shape (N, C, *space)
        As the model takes them. Zero is mid-grey where pixels were normalised to mean zero; black is then another
        number, perhaps one for each channel.
    baseline : number, str or array
        A number; (C,) numbers; ``"mean"``: each channel's own mean; ``"blur"``: the image blurred by a Gaussian with
        a twentieth of its size as standard deviation; an image (C, *space); (N, C, *space).

    Returns
    -------
    ndarray of shape (N, C, *space)
        Of the images' dtype.

    Raises
    ------
    SettingError
        Another word, or nothing numeric.
    ShapeError
        An array of another shape.
    NonFiniteError
        It holds NaN or infinity.
    """
    if isinstance(baseline, str):
        return _made_of(images, baseline)
    try:
        given = np.asarray(baseline, dtype=images.dtype)
    except (TypeError, ValueError) as error:
        raise SettingError(f"a baseline is a number, an array, 'mean' or 'blur', got {baseline!r}") from error
    if not np.isfinite(given).all():
        raise NonFiniteError("the baseline holds NaN or infinite values")
    shape = images.shape
    if given.ndim == 1 and given.shape == shape[1:2]:
        given = given.reshape(-1, *(1,) * (len(shape) - 2))
    elif given.shape not in ((), shape[1:], shape):
        raise ShapeError(
            f"the baseline has shape {given.shape}; give a number, {shape[1]} numbers (one per channel), one image "
            f"{shape[1:]}, or one per image {shape}"
        )
    return np.broadcast_to(given, shape).copy()


def several_baselines(images: Array, baseline: Baseline) -> tuple[Array, ...]:
    """Each of a list or tuple of baselines, or the only one.

    Raises
    ------
    SettingError
        The list is empty.
    """
    if not isinstance(baseline, list | tuple):
        return (baseline_images(images, baseline),)
    if len(baseline) == images.shape[1] > 1 and all(isinstance(one, int | float) for one in baseline):
        raise SettingError(
            f"{list(baseline)} may be one number for each of {images.shape[1]} channels, or as many baselines; write "
            f"np.array({list(baseline)}) for the first, [np.full({images.shape[1]}, ...), ...] for the second"
        )
    if not baseline:
        raise SettingError("the list of baselines is empty")
    return tuple(baseline_images(images, one) for one in baseline)


def _made_of(images: Array, word: str) -> Array:
    space = images.shape[2:]
    if word == "mean":
        means = images.mean(axis=tuple(range(2, images.ndim)), keepdims=True, dtype=np.float64)
        return np.broadcast_to(means, images.shape).astype(images.dtype)
    if word == "blur":
        widths = (0.0, 0.0, *(_BLUR * size for size in space))
        return np.asarray(ndimage.gaussian_filter(images, widths, mode="nearest"), dtype=images.dtype)
    raise SettingError(f"the baseline {word!r} is unknown; give 'mean', 'blur', a number or an array")
