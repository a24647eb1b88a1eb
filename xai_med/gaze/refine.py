"""The map that gaze supervises: enlarged, scaled and sharpened, with its derivatives."""

from collections.abc import Sequence
from dataclasses import dataclass

from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.errors import ShapeError
from xai_med.maps.resize import resize

_SMALLEST_RANGE = 1e-5  # as published, for a map that is constant
STEEPNESS, THRESHOLD = 100.0, 0.4


@dataclass(frozen=True, eq=False)
class RefinedCams:
    """Maps as MicEye refines them.

    Parameters
    ----------
    cams : tensor of shape (N, K, H, W)
        From 0 to 1, map by map.
    sharpened : tensor of shape (N, K, H, W)
        ``sigmoid(100 (cams - 0.4))``: nearly 0 or 1, and without derivatives nearly everywhere. For a regression take
        `cams`.
    """

    cams: Tensor
    sharpened: Tensor


def refine_cams(cams: Tensor, shape: Sequence[int], *, tensors: Tensors) -> RefinedCams:
    """Enlarge class activation maps to the image, scale each from 0 to 1, and sharpen them at 40 % of their range.

    Parameters
    ----------
    cams : tensor of shape (N, K, h, w)
        From ``attribute(..., method="cam", differentiable=True)``; derivatives go on through them.
    shape : sequence of int
        (H, W) of the image. Where it differs, maps are enlarged linearly with the first and last cells at the edges
        (``align_corners=True``), as published.
    tensors : Tensors
        Operations of the framework.

    Raises
    ------
    ShapeError
        `cams` has other axes.

    References
    ----------
    Wang et al. 2022 (Follow My Eye), arXiv:2204.02976; ``refine_cams`` in its tool's documentation.
    """
    given = shape_of(cams)
    if len(given) != 4 or len(shape) != 2:
        raise ShapeError(f"cams are (N, K, h, w) and the shape (H, W), got {given} and {tuple(shape)}")
    if given[2:] != tuple(shape):
        cams = resize(cams, shape, tensors=tensors, align_corners=True)
    low, high = (extreme(cams, (2, 3), keep=True) for extreme in (tensors.amin, tensors.amax))
    spread = high - low
    scaled = (cams - low) / tensors.where(spread == 0, _SMALLEST_RANGE, spread)
    return RefinedCams(scaled, _sigmoid(STEEPNESS * (scaled - THRESHOLD), tensors))


def _sigmoid(values: Tensor, tensors: Tensors) -> Tensor:
    return 1.0 / (1.0 + tensors.exp(-values))
