"""Synthetic images: smooth shapes and a little noise, the same each time."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Images: TypeAlias = NDArray[np.float32]
COARSEST = 4
"""Blobs per axis of the coarsest layer."""


def images(shape: Sequence[int], *, seed: int = 0) -> Images:
    """Draw images of mean 0 and variance 1, as after normalisation.

    Parameters
    ----------
    shape : sequence of int
        (N, C, *space).
    seed : int
        Another seed, other images.
    """
    generator = np.random.default_rng(seed)
    found = 0.2 * generator.normal(size=shape)
    for blobs in (COARSEST, 2 * COARSEST, 4 * COARSEST):
        found += _blocks(generator, shape, blobs)
    axes = tuple(range(1, len(shape)))
    found -= found.mean(axis=axes, keepdims=True)
    found /= found.std(axis=axes, keepdims=True)
    return found.astype(np.float32)


def _blocks(generator: np.random.Generator, shape: Sequence[int], blobs: int) -> NDArray[np.float64]:
    """Random values on a coarse grid, each as large as its cell."""
    coarse = generator.normal(size=(*shape[:2], *(min(blobs, extent) for extent in shape[2:])))
    for axis, extent in enumerate(shape[2:], start=2):
        coarse = coarse.take(np.arange(extent) * coarse.shape[axis] // extent, axis=axis)
    return coarse
