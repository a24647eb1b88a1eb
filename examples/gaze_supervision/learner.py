"""What training needs of a framework, and the network that both build from the same numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from xai_med.backend.tensors import Array

CHANNELS = (1, 16, 32, 48)
"""Of the image and behind each stage: a 3 x 3 convolution, batch norm, ReLU, and a max pool but for the last."""


@dataclass(frozen=True)
class Plan:
    """How to train.

    Parameters
    ----------
    attention_weight : float
        Of the divergence of the map that CAM gives from gaze; 0 for none.
    second_head_weight : float
        Of the loss of a second head, which predicts where somebody looked; 0 for none.
    epochs, batch_size : int
    learning_rate : float
    """

    attention_weight: float = 0.0
    second_head_weight: float = 0.0
    epochs: int = 8
    batch_size: int = 32
    learning_rate: float = 2e-3


class Learner(Protocol):
    """A network in training."""

    @property
    def model(self) -> Any:
        """The framework's own model; it gives one logit."""
        ...

    def step(self, images: Array, labels: Array, gaze: Array, has_gaze: Array) -> float:
        """One step of the optimiser; returns the loss."""
        ...

    def logits(self, images: Array) -> Array:
        """Of each image, (N,)."""
        ...


def initial_weights(seed: int) -> Mapping[str, Array]:
    """The same start in every framework (He et al. 2015, arXiv:1502.01852, equation 10)."""
    random = np.random.default_rng(seed)
    arrays = {}
    for stage, (before, after) in enumerate(pairwise(CHANNELS)):
        arrays[f"stage{stage}.weight"] = random.normal(0, np.sqrt(2 / (9 * before)), (after, before, 3, 3))
    arrays["head.weight"] = random.normal(0, np.sqrt(1 / CHANNELS[-1]), (1, CHANNELS[-1]))
    arrays["head.bias"] = np.zeros(1)
    arrays["attention.weight"] = random.normal(0, np.sqrt(1 / CHANNELS[-1]), (1, CHANNELS[-1], 1, 1))
    arrays["attention.bias"] = np.zeros(1)
    return {name: array.astype(np.float32) for name, array in arrays.items()}
