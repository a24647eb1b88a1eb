"""Linear resizing of maps, the same in every backend: one small matrix per axis."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from xai_med.backend.numpy_tensors import NUMPY
from xai_med.backend.tensors import Array, Tensor, Tensors, shape_of
from xai_med.errors import ShapeError

_SMALL = 200_000
"""Multiplications in one product: OpenBLAS divides those of more than 262,144 among its threads."""


@lru_cache(maxsize=256)
def interpolation_matrix(source: int, target: int, *, align_corners: bool = False) -> Array:
    """Weights that take `source` samples to `target` samples of the same interval, linearly.

    Parameters
    ----------
    source, target : int
        Numbers of samples, at least 1.
    align_corners : bool
        False (default): samples are cells, positions are half-pixel centred, the convention of Pillow,
        scikit-image and SciPy. True: the first and the last samples coincide (MicEye's maps).

    Returns
    -------
    ndarray of shape (target, source), float64, read-only
        Rows sum to 1.
    """
    if source < 1 or target < 1:
        raise ShapeError(f"sizes must be at least 1, got {source} -> {target}")
    index = np.arange(target, dtype=np.float64)
    if align_corners:
        position = index * (source - 1) / max(target - 1, 1)
    else:
        position = np.maximum((index + 0.5) * source / target - 0.5, 0.0)
    lower = np.minimum(np.floor(position).astype(np.int64), source - 1)
    upper = np.minimum(lower + 1, source - 1)
    fraction = position - lower
    matrix = np.zeros((target, source))
    rows = np.arange(target)
    np.add.at(matrix, (rows, lower), 1.0 - fraction)
    np.add.at(matrix, (rows, upper), fraction)
    matrix.setflags(write=False)
    return matrix


@lru_cache(maxsize=256)
def nearest_matrix(source: int, target: int) -> Array:
    """Weights that give each of `target` cells the value of the one of `source` cells in which its first edge lies.

    Parameters
    ----------
    source, target : int
        Numbers of cells, at least 1.

    Returns
    -------
    ndarray of shape (target, source), float64, read-only
        A single 1 in each row.
    """
    if source < 1 or target < 1:
        raise ShapeError(f"sizes must be at least 1, got {source} -> {target}")
    matrix = np.zeros((target, source))
    matrix[np.arange(target), np.arange(target) * source // target] = 1.0
    matrix.setflags(write=False)
    return matrix


def _along(axis: int, matrix: Array, values: Array) -> Array:
    """Apply a matrix along one axis, in products so small that no BLAS library divides them among threads.

    The threads of such a library go on waiting, busily, when a product is done, and take the processors from the
    framework whose model runs next: DenseNet-121 took half as long again after the maps of fourteen classes.
    """
    target, source = matrix.shape
    before, after = values.shape[:axis], values.shape[axis + 1 :]
    result = np.empty((*before, target, *after), values.dtype)
    step = max(1, _SMALL // (source * target))
    if not after:  # rows by the transposed matrix: columns of one number each would be slow
        rows, products = values.reshape(-1, source), result.reshape(-1, target)
        for start in range(0, len(rows), step):
            np.matmul(rows[start : start + step], matrix.T, out=products[start : start + step])
        return result
    wide = math.prod(after)
    columns, sums = values.reshape(-1, source, wide), result.reshape(-1, target, wide)
    for start in range(0, wide, step):
        part = slice(start, start + step)
        np.matmul(matrix, columns[..., part], out=sums[..., part])
    return result


def resize(
    maps: Tensor,
    space: Sequence[int],
    *,
    tensors: Tensors = NUMPY,
    align_corners: bool = False,
    nearest: bool = False,
) -> Tensor:
    """Resize the last axes of a tensor to `space`, linearly along each.

    Parameters
    ----------
    maps : tensor of shape (..., *old space)
        Any number of leading axes.
    space : sequence of int
        New sizes of the last ``len(space)`` axes.
    tensors : Tensors
        Operations of the tensor's framework; NumPy's by default.
    align_corners : bool
        See `interpolation_matrix`.
    nearest : bool
        Copy values instead of mixing them, see `nearest_matrix`: cells are drawn as blocks.

    Returns
    -------
    tensor of shape (..., *space)

    Raises
    ------
    ShapeError
        There are fewer axes than sizes, or a size is below 1.
    """
    old = shape_of(maps)
    if len(space) > len(old):
        raise ShapeError(f"{len(space)} sizes were given for a tensor of {len(old)} axes")
    result = maps
    for offset, size in enumerate(space):
        axis = len(old) - len(space) + offset
        if old[axis] == size:
            continue
        if nearest:
            weights = nearest_matrix(old[axis], int(size))
        else:
            weights = interpolation_matrix(old[axis], int(size), align_corners=align_corners)
        if tensors is NUMPY:
            result = _along(axis, weights.astype(result.dtype, copy=False), result)
            continue
        matrix = tensors.from_numpy(weights, maps)
        before = "abcdefgh"[:axis]
        after = "ijklmn"[: len(old) - axis - 1]
        result = tensors.einsum(f"{before}y{after},zy->{before}z{after}", result, matrix)
    return result
