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
        found[:, mask] = _solved(mask, pixels[:, ~mask].astype(np.float64)).T
    return found


def _solved(mask: Array, known: Array) -> Array:
    """Missing pixels, (M, C): the weights of a row times (missing pixel - neighbour) add up to zero."""
    weights = _weights(mask)
    flat = mask.ravel()
    system = sparse.diags_array(weights.sum(axis=1)) - weights[:, np.flatnonzero(flat)]
    right = weights[:, np.flatnonzero(~flat)] @ known.T
    if mask.ndim < 3:
        factors = splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        solved: Array = factors.solve(right)
        return solved
    return _conjugate_gradients(system, right)  # factors of a volume do not fit into memory


def _weights(mask: Array) -> sparse.csr_array:
    """Weights of neighbours, (missing pixels, all pixels)."""
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
        values.append(np.full(int(is_missing.sum()), 2.0**-distance / (2**mask.ndim - 1)))
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array(entries, shape=(int(flat.sum()), mask.size))


def _shifted(places: Array, offset: tuple[int, ...]) -> Array:
    """Pixels whose neighbour at an offset exists; of the negative offset, those neighbours in the same order."""
    inside = tuple(slice(max(0, -step), size - max(0, step)) for step, size in zip(offset, places.shape, strict=True))
    return places[inside].ravel()


def _conjugate_gradients(system: sparse.csr_array, right: Array) -> Array:
    """Solve a symmetric positive definite system for all channels, scaled by its diagonal.

    References
    ----------
    Saad 2003, Iterative methods for sparse linear systems, algorithm 9.1.
    """
    scale = system.diagonal()[:, None]
    wanted = _RESIDUAL * np.linalg.norm(right, axis=0)
    found, residual = np.zeros_like(right), right.copy()
    direction = conditioned = residual / scale
    for _ in range(10 * len(right) + 100):
        if (np.linalg.norm(residual, axis=0) <= wanted).all():
            return found
        pushed = system @ direction
        size = (residual * conditioned).sum(axis=0)
        step = _quotient(size, (direction * pushed).sum(axis=0))
        found, residual = found + step * direction, residual - step * pushed
        conditioned = residual / scale
        direction = conditioned + _quotient((residual * conditioned).sum(axis=0), size) * direction
    raise IdentityError("the missing pixels could not be solved for to ten digits; scale the image to a usual range")


def _quotient(above: Array, below: Array) -> Array:
    """Zero where a channel is solved already."""
    result: Array = np.divide(above, below, out=np.zeros_like(above), where=below != 0)
    return result
