"""Which images each step of a training sees: the same in every framework."""

import numpy as np

from xai_med.backend.tensors import Array


def batches(count: int, *, epochs: int, batch_size: int, seed: int) -> list[Array]:
    """Positions of the images of each step, all images once per epoch.

    Parameters
    ----------
    count, epochs, batch_size, seed : int
        Of images, of rounds through them, of images in a step, and of their order.
    """
    random = np.random.default_rng(seed)
    steps = max(count // batch_size, 1)
    return [part for _ in range(epochs) for part in np.array_split(random.permutation(count), steps)]
