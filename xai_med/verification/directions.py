"""Directions along which difference quotients are taken; drawn by a private generator."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from xai_med.backend.tensors import Array

SEED = 20240229
"""Of the private generator: the same result is verified along the same directions."""


def dense_directions(point: Array, generator: np.random.Generator) -> Iterator[Array]:
    """Random directions without end, as large as the point."""
    while True:
        yield _as_large_as(point, generator.normal(size=point.shape))


def random_directions(point: Array, generator: np.random.Generator) -> Iterator[Array]:
    """Two dense random directions: they find whatever is wrong, in proportion to its size."""
    return islice(dense_directions(point, generator), 2)


def steepest_direction(point: Array, pattern: Array, slopes: Array, generator: np.random.Generator) -> Array:
    """A mixture of the claimed slopes themselves, which tells scale and sign: in it scores change fastest.

    Cells of equal values get the same, their mean, and zeros stay zero.

    Parameters
    ----------
    point : ndarray of shape (N, C, *space)
        Where the slopes were taken.
    pattern : ndarray of shape (N, C, *space)
        Whose equal values are kept equal.
    slopes : ndarray of shape (N, K, C, *space)
        Claimed.
    generator : numpy.random.Generator
        Of this verification.
    """
    sizes = np.sqrt((slopes.reshape(*slopes.shape[:2], -1) ** 2).sum(axis=2))
    weights = generator.normal(size=sizes.shape) / np.where(sizes > 0, sizes, 1)
    mixture = np.einsum("nk,nk...->n...", weights, slopes)
    even = np.stack([_mean_of_equals(one, values) for one, values in zip(mixture, pattern, strict=True)])
    return _as_large_as(point, even * (pattern != 0))


def _mean_of_equals(direction: Array, values: Array) -> Array:
    """Mean of `direction` over all cells with the same values in every channel; both (C, *space)."""
    cells = np.ascontiguousarray(values.reshape(len(values), -1).T)
    _, group = np.unique(cells, axis=0, return_inverse=True)
    group = group.reshape(-1)
    counts = np.bincount(group)
    flat = direction.reshape(len(direction), -1)
    means = np.stack([np.bincount(group, weights=channel) / counts for channel in flat])
    return np.asarray(means[:, group].reshape(direction.shape))


def value_directions(point: Array, pattern: Array, generator: np.random.Generator) -> Iterator[Array]:
    """Directions that depend on a place's own values only, so that what is equal stays equal and zero stays zero.

    Medical images have large areas of one value, where max pools tie and, without biases, rectifiers stand on their
    edge: along a dense direction the score has no derivative there. Along these it has.
    """
    size = np.abs(pattern).max() or 1.0
    for _ in range(3):
        channels = generator.normal(size=(*pattern.shape[:2], *(1,) * (pattern.ndim - 2)))
        waves = np.cos(generator.uniform(1, 6) * pattern / size + generator.uniform(0, 2 * np.pi))
        yield _as_large_as(point, pattern * channels * waves)


def _as_large_as(point: Array, direction: Array) -> Array:
    """Scale each image's direction to the root mean square of the image; to 1 for an empty image."""
    shape = (len(point), *(1,) * (point.ndim - 1))
    wanted, given = (np.sqrt((values.reshape(len(point), -1) ** 2).mean(axis=1)) for values in (point, direction))
    wanted, given = np.where(wanted > 0, wanted, 1), np.where(given > 0, given, 1)
    return np.asarray(direction * (wanted / given).reshape(shape))
