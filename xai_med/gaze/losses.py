"""How far a map is from where a radiologist looked, with derivatives, for training.

Of the publication on gaze-supervised radiograph models neither the distance nor its weight is public; the distance is
a choice here, and the weight must be tuned.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.errors import SettingError, ShapeError

Distance = Literal["mse", "bce", "dice", "kl"]

_SMALLEST = 1e-6  # keeps logarithms and quotients finite in float32


def _mean_squared(predicted: Tensor, gaze: Tensor, tensors: Tensors) -> Tensor:
    difference = predicted - gaze
    return tensors.mean(difference * difference, (1, 2))


def _cross_entropy(predicted: Tensor, gaze: Tensor, tensors: Tensors) -> Tensor:
    kept = tensors.clip(predicted, low=_SMALLEST, high=1 - _SMALLEST)
    return -tensors.mean(gaze * tensors.log(kept) + (1.0 - gaze) * tensors.log(1.0 - kept), (1, 2))


def _soft_dice(predicted: Tensor, gaze: Tensor, tensors: Tensors) -> Tensor:
    common = tensors.sum(predicted * gaze, (1, 2))
    return 1.0 - 2.0 * common / (tensors.sum(predicted, (1, 2)) + tensors.sum(gaze, (1, 2)) + _SMALLEST)


def _divergence(predicted: Tensor, gaze: Tensor, tensors: Tensors) -> Tensor:
    p, g = (_as_distribution(each, tensors) for each in (predicted, gaze))
    logarithms = tensors.log(g + _SMALLEST) - tensors.log(p + _SMALLEST)
    return tensors.sum(g * logarithms, (1, 2))


def _as_distribution(values: Tensor, tensors: Tensors) -> Tensor:
    return values / (tensors.sum(values, (1, 2), keep=True) + _SMALLEST)


DISTANCES: Mapping[str, Callable[[Tensor, Tensor, Tensors], Tensor]] = MappingProxyType(
    {"mse": _mean_squared, "bce": _cross_entropy, "dice": _soft_dice, "kl": _divergence}
)
"""Each takes maps and gaze, (N, H, W), and gives one number per image, (N,)."""


def attention_loss(
    predicted: Tensor,
    gaze: Tensor,
    *,
    tensors: Tensors,
    distance: Distance = "mse",
    available: ArrayLike | None = None,
) -> Tensor:
    """Mean distance of maps from gaze, over the images that have gaze.

    Parameters
    ----------
    predicted : tensor of shape (N, H, W)
        From 0 to 1, such as `RefinedCams.cams` of each image's class; derivatives go through it.
    gaze : tensor of shape (N, H, W)
        From 0 to 1.
    tensors : Tensors
        Operations of the framework.
    distance : str
        ``"mse"``, ``"bce"``, ``"dice"`` (soft) or ``"kl"`` (of the gaze from the map, both summing to 1).
    available : array-like of shape (N,), bool, optional
        Which images have gaze; all by default. Without any the loss is 0, with derivatives of 0.

    Returns
    -------
    tensor of shape ()
        To be added to the loss of the classes, times a weight that must be tuned.

    Raises
    ------
    ShapeError
        Shapes differ.
    SettingError
        The distance is not known.
    """
    shapes = shape_of(predicted), shape_of(gaze)
    if shapes[0] != shapes[1] or len(shapes[0]) != 3:
        raise ShapeError(f"maps and gaze are (N, H, W) alike, got {shapes[0]} and {shapes[1]}")
    if distance not in DISTANCES:
        raise SettingError(f"distance is one of {', '.join(DISTANCES)}, got {distance!r}")
    images = shapes[0][0]
    chosen = np.ones(images) if available is None else np.asarray(available, dtype=bool).astype(np.float64)
    if chosen.shape != (images,):
        raise ShapeError(f"available names {chosen.shape} images, there are {images}")
    each = DISTANCES[distance](predicted, gaze, tensors)
    weights = tensors.from_numpy(chosen / max(float(chosen.sum()), 1.0), predicted)
    return tensors.sum(each * weights, (0,))
