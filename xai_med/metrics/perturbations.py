"""Small changes of an image that infidelity asks about."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError
from xai_med.metrics.fill import Fill, filling
from xai_med.metrics.settings import amount, whole_number


@dataclass(frozen=True)
class GaussianNoise:
    """Independent normal noise on every pixel and channel.

    Parameters
    ----------
    sigma : float
        Standard deviation, in units of the image.
    """

    sigma: float

    def __post_init__(self) -> None:
        amount(self.sigma, "sigma", above=0)


@dataclass(frozen=True, eq=False)
class RemovedSquare:
    """One square (segment, cube) at a random place, replaced by a fill in all channels.

    Parameters
    ----------
    side_px : int
        Along each space axis; the whole of an axis that is shorter. Squares lie within the image, every place is
        equally likely.
    fill : Fill
    """

    side_px: int
    fill: Fill = "zero"

    def __post_init__(self) -> None:
        whole_number(self.side_px, "side_px", least=1)


Perturbation: TypeAlias = GaussianNoise | RemovedSquare


def differences(pixels: Array, perturbation: Perturbation, samples: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """What is subtracted from the image, (C, *space), and where something is, (*space); one pair per sample.

    Raises
    ------
    SettingError
        Squares cover the whole image, so that all are the same.
    """
    random = np.random.default_rng(seed)
    if isinstance(perturbation, GaussianNoise):
        everywhere = np.ones(pixels.shape[1:], dtype=bool)
        for _ in range(samples):
            noise = perturbation.sigma * random.standard_normal(pixels.shape)
            yield noise.astype(pixels.dtype), everywhere
        return
    sides = [min(perturbation.side_px, size) for size in pixels.shape[1:]]
    if tuple(sides) == pixels.shape[1:]:
        raise SettingError(f"squares of {perturbation.side_px} px cover the whole image; use a smaller side_px")
    removed = pixels - filling(pixels, perturbation.fill).values
    for _ in range(samples):
        corner = [int(random.integers(size - side + 1)) for size, side in zip(pixels.shape[1:], sides, strict=True)]
        square = np.zeros(pixels.shape[1:], dtype=bool)
        square[tuple(slice(start, start + side) for start, side in zip(corner, sides, strict=True))] = True
        yield np.where(square, removed, 0), square
