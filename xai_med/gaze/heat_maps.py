"""Heat maps of gaze: by visual angle and duration, and as three publications made them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import GazeError, SettingError
from xai_med.gaze.fixations import Fixations, Samples

Scale = Literal["sum", "max", "range", "none"]


def heat_map(
    fixations: Fixations,
    shape: tuple[int, int],
    *,
    sigma_px: float | tuple[float, float],
    weight: Literal["duration", "count"] = "duration",
    scale: Scale = "sum",
) -> Array:
    """Spread each fixation by a Gaussian, at the centres of an image's pixels.

    Parameters
    ----------
    fixations : Fixations
        In pixels of the image; those outside of it spread into it.
    shape : (int, int)
        (H, W) of the image.
    sigma_px : float or (float, float)
        Of the Gaussian, horizontally and vertically; one degree of the visual field is `Screen.pixels_per_degree`.
    weight : str
        ``"duration"``, or ``"count"``, every fixation alike.
    scale : str
        ``"sum"``: the map sums to 1. ``"max"``: its largest value is 1. ``"range"``: from 0 to 1. ``"none"``.

    Returns
    -------
    ndarray of shape (H, W), float64

    Raises
    ------
    GazeError
        There is no fixation, or the map is zero everywhere as all lie far away.
    SettingError
        `sigma_px` is not above zero, or a word is not known.

    References
    ----------
    Duration and one degree: Bigolin Lanfredi et al. 2022 (REFLACX), doi:10.1038/s41597-022-01441-z. Le Meur and Baccino
    2013, doi:10.3758/s13428-012-0226-9, on sigma.
    """
    across, down = sigma_px if isinstance(sigma_px, tuple) else (sigma_px, sigma_px)
    if not (across > 0 and down > 0):
        raise SettingError(f"sigma_px is above 0, got {sigma_px!r}")
    if weight not in ("duration", "count"):
        raise SettingError(f"weight is 'duration' or 'count', got {weight!r}")
    if not len(fixations):
        raise GazeError("there is no fixation; an image without gaze has no heat map")
    weights = fixations.duration_s if weight == "duration" else np.ones(len(fixations))
    rows = _bells(fixations.y, shape[0], down) * weights[:, None]
    columns = _bells(fixations.x, shape[1], across)
    return _scaled(np.einsum("fh,fw->hw", rows, columns, optimize=True), scale)


def _bells(centres: Array, size: int, sigma: float) -> Array:
    """A Gaussian of height 1 around each centre, at the middle of each pixel: (F, size)."""
    bells: Array = np.exp(-0.5 * ((np.arange(size) + 0.5 - centres[:, None]) / sigma) ** 2)
    return bells


def _range(values: Array) -> Array:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


_SCALES: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "sum": lambda values: values / values.sum(),
        "max": lambda values: values / values.max(),
        "range": _range,
        "none": lambda values: values,
    }
)


def _scaled(values: Array, scale: str) -> Array:
    if scale not in _SCALES:
        raise SettingError(f"scale is one of {', '.join(_SCALES)}, got {scale!r}")
    if not values.any():
        raise GazeError("the heat map is zero everywhere: the gaze lies far outside of the image; is it in its pixels?")
    return _SCALES[scale](values)


def reflacx_heat_map(fixations: Fixations, shape: tuple[int, int], *, pixels_per_degree: tuple[float, float]) -> Array:
    """As REFLACX: weighted by duration, sigma of one degree along each axis, summing to 1.

    References
    ----------
    Bigolin Lanfredi et al. 2022, doi:10.1038/s41597-022-01441-z.
    """
    return heat_map(fixations, shape, sigma_px=pixels_per_degree, weight="duration", scale="sum")


def egd_cxr_heat_map(fixations: Fixations, shape: tuple[int, int]) -> Array:
    """As EGD-CXR: every fixation alike, sigma of 150 pixels of the original radiograph, from 0 to 1.

    The published targets were pictures in the colours of viridis, whose brightness is another map; this is the map.

    References
    ----------
    Karargyris et al. 2021, doi:10.1038/s41597-021-00863-5.
    """
    return heat_map(fixations, shape, sigma_px=150.0, weight="count", scale="range")


def miceye_heat_map(samples: Samples, shape: tuple[int, int], *, kernel_size: int = 99) -> Array:
    """As MicEye: every pixel that a raw sample hit counts once, blurred by a cut-off Gaussian, from 0 to 1.

    How long or how often a place was looked at is lost. Samples outside of the image are left out.

    Parameters
    ----------
    samples : Samples
        In pixels of the image.
    shape : (int, int)
        (H, W).
    kernel_size : int
        Odd; 99 or 199 in the publication. Sigma follows by OpenCV's rule: 15.2 and 30.2 pixels.

    References
    ----------
    Wang et al. 2022 (Follow My Eye), arXiv:2204.02976, and its tool's documentation.
    """
    from scipy import ndimage

    if kernel_size < 1 or kernel_size % 2 == 0:
        raise SettingError(f"kernel_size is odd and above 0, got {kernel_size}")
    sigma = 0.3 * ((kernel_size - 1) * 0.5 - 1) + 0.8
    seen = samples.is_seen
    columns, rows = (np.floor(values[seen]).astype(np.int64) for values in (samples.x, samples.y))
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    if not inside.any():
        raise GazeError("no sample lies on the image; are they in its pixels?")
    hit = np.zeros(shape)
    hit[rows[inside], columns[inside]] = 1
    offsets = np.arange(kernel_size) - kernel_size // 2
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):  # "mirror" is how OpenCV continues an image beyond its border
        hit = ndimage.correlate1d(hit, kernel, axis=axis, mode="mirror")
    return _scaled(hit, "range")
