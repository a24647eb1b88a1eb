"""What the catalogue says about one architecture: how it is built, and by hand where its features and head are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

CLASSES = 5
"""Outputs of a classifier, where its constructor takes their number."""


@dataclass(frozen=True)
class Head:
    """Where features with cells end and what reads them, named by hand from the architecture's source.

    Parameters
    ----------
    features : str
        Dotted name of the module whose output enters the pool; of a transformer that reads its class token alone,
        the first norm of the last block: behind its attention no other token reaches the output.
    linear : str or None
        Dotted name of the linear layer behind the global average pool; None where there is none, so that class
        activation maps do not exist.
    channels_last : bool
        Whether the features are (N, *space, C).
    is_rectified : bool
        Whether a ReLU that is a function stands between the module and the pool.
    """

    features: str
    linear: str | None = None
    channels_last: bool = False
    is_rectified: bool = False


@dataclass(frozen=True)
class Tokens:
    """How a transformer lays out its tokens.

    Parameters
    ----------
    leading : int
        Class and register tokens before those of the grid.
    grid : tuple of int
        Patches along each space axis.
    """

    leading: int
    grid: tuple[int, ...]


@dataclass(frozen=True)
class Architecture:
    """One model of the catalogue.

    Parameters
    ----------
    name : str
        As its library calls it.
    library : str
        Name of the package.
    family : str
        Of the architecture, as literature has it.
    shape : tuple of int
        (C, *space) of an image.
    build : callable
        Gives the model with the library's own random weights.
    head : Head or None
        Where it is known by hand.
    tokens : Tokens or None
        Of a transformer without a grid of features.
    output : object
        `output=` for `xai_med.explain`: which part of what the model returns holds the logits.
    is_dense : bool
        Whether the output is (N, C, *space): explained under a mask.
    layer : str or None
        For Grad-CAM, where the architecture has no end of features of its own.
    seed : int
        Of the weights; another one where all logits are negative, of which CLEAR keeps nothing.
    span : tuple of float
        Smallest and largest value of an image.
    note : str
        For the table.
    """

    name: str
    library: str
    family: str
    shape: tuple[int, ...]
    build: Callable[[], Any]
    head: Head | None = None
    tokens: Tokens | None = None
    output: Any = None
    is_dense: bool = False
    layer: str | None = None
    seed: int = 0
    span: tuple[float, float] = (-2.0, 2.0)
    note: str = ""

    @property
    def framework(self) -> str:
        """Name of the backend."""
        return "paddle" if self.library == "paddle" else "torch"

    @property
    def key(self) -> str:
        """Library and name, by which the model is chosen on a command line."""
        return f"{self.library}:{self.name}"

    def images(self, count: int = 2, seed: int = 0) -> np.ndarray:
        """Images (N, C, *space), float64, smooth enough that neighbours resemble each other."""
        generator = np.random.default_rng(seed)
        noise = generator.normal(size=(count, *self.shape))
        for axis in range(2, noise.ndim):
            noise = noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis)
        low, high = noise.min(), noise.max()
        images = self.span[0] + (noise - low) / (high - low) * (self.span[1] - self.span[0])
        return images.astype(np.float32).astype(np.float64)
