"""What every batch of images is checked for before a model sees it."""

from typing import Any

import numpy as np

from xai_med.backend.network import Network
from xai_med.backend.tensors import Tensor, shape_of
from xai_med.errors import DtypeError, NonFiniteError, SettingError, ShapeError


def check_images(x: Any) -> tuple[int, ...]:
    """Refuse what is not a batch of images; sizes of its space axes.

    Raises
    ------
    DtypeError
        Not an array.
    ShapeError
        Not (N, C, *space), or empty.
    """
    if not hasattr(x, "shape"):
        raise DtypeError(f"images must be a tensor or a NumPy array, got {type(x).__name__}")
    shape = shape_of(x)
    if len(shape) not in (3, 4, 5):
        raise ShapeError(
            f"images must be (N, C, *space) with one, two or three space axes, got shape {shape}"
            + ("; add the batch and channel axes with x[None, None]" if len(shape) == 2 else "")
        )
    if 0 in shape:
        raise ShapeError(f"the batch is empty: shape {shape}")
    return shape[2:]


def in_dtype(network: Network, x: Any, dtype: str) -> tuple[Network, Any]:
    """A copy of the network and the images in another precision.

    Raises
    ------
    SettingError
        Neither ``"float32"`` nor ``"float64"``.
    """
    if dtype not in ("float32", "float64"):
        raise SettingError(f"dtype is 'float32' or 'float64', got {dtype!r}")
    array = x if isinstance(x, np.ndarray) else network.tensors.to_numpy(x)
    if array.dtype.kind != "f":
        network.batch(x)  # raises the adapter's own message about integer images
    return network.as_dtype(dtype), array.astype(dtype)


def refuse_non_finite_input(batch: Tensor, network: Network) -> None:
    """Refuse images that hold NaN or infinity.

    Raises
    ------
    NonFiniteError
        They do; the images are named.
    """
    values = network.tensors.to_numpy(batch)
    bad = ~np.isfinite(values)
    if bad.any():
        images = sorted({int(index) for index in np.nonzero(bad)[0]})
        raise NonFiniteError(
            f"the input holds {int(bad.sum())} NaN or infinite values (in image {', '.join(map(str, images[:5]))}); "
            f"clean or mask them before explaining"
        )
