"""A small all-convolutional network: its last convolution has one kernel per class, and their maps are averaged."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from examples.schedule import batches
from xai_med.backend.tensors import Array

STAGES = (("conv1", 16, 5), ("conv2", 16, 3), ("pool", 0, 2), ("conv3", 32, 3), ("conv4", 32, 3), ("pool", 0, 2))
"""Name, kernels and size; a ReLU behind each convolution. After Springenberg et al. 2015, arXiv:1412.6806."""

LAST = "conv_class"


@dataclass(frozen=True)
class Plan:
    """How to train.

    Parameters
    ----------
    epochs, batch_size : int
    learning_rate : float
        Of Adam at first; it falls evenly to nearly zero, so that batch norm's statistics are those of the last weights.
    seed : int
        Of initial weights and of the order of images: the same in every framework.
    batch_norm : bool
        Behind each convolution, which shortens training; once trained it is a part of the convolution.
    """

    epochs: int = 6
    batch_size: int = 64
    learning_rate: float = 2e-3
    seed: int = 0
    batch_norm: bool = False

    def batches(self, count: int) -> list[Array]:
        """Positions of the images of each step of all epochs."""
        return batches(count, epochs=self.epochs, batch_size=self.batch_size, seed=self.seed)

    def steps(self, count: int) -> list[tuple[float, Array]]:
        """Learning rate and positions of the images of each step."""
        chosen = self.batches(count)
        return [(self.learning_rate * (1 - step / len(chosen)), each) for step, each in enumerate(chosen)]


def initial_weights(channels: int, classes: int, plan: Plan) -> Mapping[str, Array]:
    """The same start in every framework (He et al. 2015, arXiv:1502.01852, equation 10)."""
    random = np.random.default_rng(plan.seed)
    arrays: dict[str, Array] = {}
    before = channels
    for name, after, size in (*STAGES, (LAST, classes, 3)):
        if after:
            deviation = np.sqrt(2 / (before * size**2))
            arrays[f"{name}.weight"] = random.normal(0, deviation, (after, before, size, size)).astype(np.float32)
            if name == LAST or not plan.batch_norm:
                arrays[f"{name}.bias"] = np.zeros(after, np.float32)
            before = after
    return arrays
