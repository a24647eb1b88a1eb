"""How published CheXNets prepare a radiograph: what goes into the network must be what it was trained on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image
from skimage.transform import resize as skimage_resize

from xai_med.backend.tensors import Array
from xai_med.io.images import read_image
from xai_med.maps.resize import resize

SIDE = 224
_SHORTER = 256
_MEAN = np.array((0.485, 0.456, 0.406)).reshape(3, 1, 1)
_DEVIATION = np.array((0.229, 0.224, 0.225)).reshape(3, 1, 1)


@dataclass(frozen=True)
class Prepared:
    """A radiograph as a network wants it.

    Parameters
    ----------
    crops : ndarray of shape (M, C, 224, 224), float32
        The first one is explained; probabilities are the mean over all, as published.
    shown : ndarray of shape (224, 224, 3), uint8
        The first crop, to draw maps over.
    """

    crops: Array
    shown: Array


@dataclass(frozen=True)
class Profile:
    """One way of preparing.

    Parameters
    ----------
    name : str
    channels : int
        Of the network's input.
    prepare : callable
        From pixels (H, W, 3), uint8, to `Prepared`.
    source : str
    """

    name: str
    channels: int
    prepare: Callable[[Array], Prepared]
    source: str


def prepare(path: Path, profile: Profile) -> Prepared:
    """Read and prepare a picture.

    Raises
    ------
    FileFormatError
        Neither PNG nor JPEG.
    """
    pixels = np.rint(255 * read_image(path, channels=3)[0]).astype(np.uint8)
    return profile.prepare(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _paddle_chexnet(pixels: Array) -> Prepared:
    """OpenCV's bilinear resize to 256 x 256, without smoothing beforehand, whatever the aspect; the middle 224."""
    channels = resize(pixels.transpose(2, 0, 1).astype(np.float64), (_SHORTER, _SHORTER))
    small = np.floor(channels + 0.5).astype(np.uint8)  # OpenCV rounds halves up
    middle = _middle(small, SIDE)
    return Prepared(_normalised(middle)[None], np.ascontiguousarray(middle.transpose(1, 2, 0)))


def _arnoweng(pixels: Array) -> Prepared:
    """Pillow's bilinear resize of the shorter side to 256, which smooths; the middle, the corners, and all mirrored."""
    height, width = pixels.shape[:2]
    if width <= height:
        size = _SHORTER, int(_SHORTER * height / width)
    else:
        size = int(_SHORTER * width / height), _SHORTER
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    corners = [small[:, rows, columns] for rows in _ENDS for columns in _ENDS]
    crops = [_middle(small, SIDE), *corners]
    crops += [crop[:, :, ::-1] for crop in crops]
    return Prepared(np.stack([_normalised(crop) for crop in crops]), np.ascontiguousarray(crops[0].transpose(1, 2, 0)))


def _torchxrayvision(pixels: Array) -> Prepared:
    """One channel from -1024 to 1024; the middle square, resized by scikit-image, which smooths.

    The edge is mixed with 0, a middle grey, as published: scaled first, then resized.
    """
    grey = np.asarray(Image.fromarray(pixels).convert("L"), dtype=np.float64)
    side = min(grey.shape)
    top, left = (size // 2 - side // 2 for size in grey.shape)
    scaled = (2 * grey[top : top + side, left : left + side] / 255 - 1) * 1024
    small = skimage_resize(scaled, (SIDE, SIDE), mode="constant", preserve_range=True).astype(np.float32)
    shown = np.rint((small / 1024 + 1) / 2 * 255).clip(0, 255).astype(np.uint8)
    return Prepared(small[None, None], np.repeat(shown[..., None], 3, axis=2))


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        each.name: each
        for each in (
            Profile("paddle_chexnet", 3, _paddle_chexnet, "jm12138/Paddle-CheXNet, vis_cam"),
            Profile("arnoweng", 3, _arnoweng, "arnoweng/CheXNet, model.py"),
            Profile("torchxrayvision", 1, _torchxrayvision, "mlmed/torchxrayvision"),
        )
    }
)

_ENDS = (slice(None, SIDE), slice(-SIDE, None))


def _middle(image: Array, side: int) -> Array:
    """Middle square of the last two axes."""
    height, width = image.shape[-2:]
    top, left = round((height - side) / 2), round((width - side) / 2)
    middle: Array = image[..., top : top + side, left : left + side]
    return middle


def _normalised(crop: Array) -> Array:
    normalised: Array = ((crop / 255 - _MEAN) / _DEVIATION).astype(np.float32)
    return normalised
