"""Missing pixels as weighted means of their neighbours, all at once."""

from itertools import product

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.linalg import splu

from xai_med.backend.tensors import Array
from xai_med.errors import DtypeError, IdentityError, SettingError, ShapeError
from xai_med.metrics.answer import one_image

_RESIDUAL = 1e-10  # of the right-hand side; what is left is far below the noise that ROAD adds


def linear_imputation(image: ArrayLike, missing: ArrayLike) -> Array:
    """Replace missing pixels so that each is the weighted mean of its neighbours, missing ones included.

    Neighbours are the pixels that differ by at most one along each axis. One that differs along k of d axes weighs
    ``2**-k / (2**d - 1)``: 1/6 for direct and 1/12 for diagonal ones in two dimensions, as published; 1/2 in one;
    1/14, 1/28 and 1/56 in three. At the edge the weights of those that exist are scaled to sum to one.

    Parameters
    ----------
    image : array-like of shape (C, *space)
    missing : array-like of shape (*space), bool
        At least one pixel is known.

    Returns
    -------
    ndarray of shape (C, *space)
        A copy in the dtype of the image; known pixels as they were.

    Raises
    ------
    SettingError
        No pixel is known.
    ShapeError, DtypeError, NonFiniteError
        Of the image or the mask.

    References
    ----------
    Rong et al. 2022 (ROAD), arXiv:2202.00449 (noisy linear imputation); their code has two space axes, the weights
    for one and three are ours: the same product of 1/2, 1, 1/2 along each axis.
    """
    pixels, mask = one_image(image), np.asarray(missing)
    if mask.dtype.kind != "b":
        raise DtypeError(f"missing must be boolean, got {mask.dtype}")
    if mask.shape != pixels.shape[1:]:
        raise ShapeError(f"missing is {mask.shape} and the image (C, *space) {pixels.shape}")
    if mask.all():
        raise SettingError("every pixel is missing; at least one must be known to impute the others from")
    found = pixels.copy()
    if mask.any():
        known = np.where(mask, 0.0, pixels.astype(np.float64))
        found[:, mask] = _factored(known, mask) if mask.ndim < 3 else _iterated(known, mask)
    return found


def _factored(known: Array, mask: Array) -> Array:
    """Missing pixels (C, M) of signals and images; the factors of a volume would not fit into memory."""
    flat = mask.ravel()
    weights = _weights(mask)
    diagonal = sparse.dia_array((weights.sum(axis=1)[None], [0]), shape=(weights.shape[0],) * 2)
    system = diagonal - weights[:, np.flatnonzero(flat)]
    factors = splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    solved: Array = factors.solve(weights @ known.reshape(len(known), -1).T).T
    return solved


def _weights(mask: Array) -> sparse.csr_array:
    """``2**-k`` for neighbours along k axes, (missing pixels, all pixels); a common factor cancels."""
    places, flat = np.arange(mask.size).reshape(mask.shape), mask.ravel()
    row_of = flat.cumsum() - 1
    rows, columns, values = [], [], []
    for offset in product((-1, 0, 1), repeat=mask.ndim):
        distance = sum(map(abs, offset))
        if not distance:
            continue
        here = _shifted(places, offset)
        is_missing = flat[here]
        rows.append(row_of[here[is_missing]])
        columns.append(_shifted(places, tuple(-step for step in offset))[is_missing])
        values.append(np.full(int(is_missing.sum()), 2.0**-distance))
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array(entries, shape=(int(flat.sum()), mask.size))


def _shifted(places: Array, offset: tuple[int, ...]) -> Array:
    """Pixels whose neighbour at an offset exists; of the negative offset, those neighbours in the same order."""
    inside = tuple(slice(max(0, -step), size - max(0, step)) for step, size in zip(offset, places.shape, strict=True))
    return places[inside].ravel()


def _iterated(known: Array, mask: Array) -> Array:
    """The same equations by conjugate gradients, scaled by their diagonal, without a matrix; (C, M).

    References
    ----------
    Saad 2003, Iterative methods for sparse linear systems, algorithm 9.1.
    """
    diagonal = _neighbours(np.ones((1, *mask.shape)))
    residual = _neighbours(known) * mask
    wanted = _RESIDUAL * np.sqrt(_products(residual, residual))
    found, conditioned = np.zeros_like(residual), residual / diagonal
    direction, size = conditioned, _products(residual, conditioned)
    for _ in range(10 * mask.size + 100):
        if (np.sqrt(_products(residual, residual)) <= wanted).all():
            return found[:, mask]
        pushed = (diagonal * direction - _neighbours(direction)) * mask
        step = _quotient(size, _products(direction, pushed))
        found, residual = found + step * direction, residual - step * pushed
        conditioned, before = residual / diagonal, size
        size = _products(residual, conditioned)
        direction = conditioned + _quotient(size, before) * direction
    raise IdentityError("the missing pixels could not be solved for to ten digits; scale the image to a usual range")


def _neighbours(values: Array) -> Array:
    """Sum over neighbours along k axes times ``2**-k``: 1/2, 1, 1/2 along each axis, less the pixel itself."""
    summed = values
    for axis in range(1, values.ndim):
        before, after = np.moveaxis(summed, axis, -1), summed.copy()
        moved = np.moveaxis(after, axis, -1)
        moved[..., 1:] += before[..., :-1] / 2
        moved[..., :-1] += before[..., 1:] / 2
        summed = after
    return summed - values


def _products(first: Array, second: Array) -> Array:
    """Of each channel, with space axes of size 1."""
    summed: Array = (first * second).sum(axis=tuple(range(1, first.ndim)), keepdims=True)
    return summed


def _quotient(above: Array, below: Array) -> Array:
    """Zero where a channel is solved already."""
    result: Array = np.divide(above, below, out=np.zeros_like(above), where=below != 0)
    return result
