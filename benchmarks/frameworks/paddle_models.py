"""Paddle models with random weights whose batch norms know the images."""

import importlib
from collections.abc import Sequence
from typing import Any

from benchmarks.images import images

SEED = 20240501
SETTLING = 4
"""Images from which batch norms take their statistics."""


def model(name: str, outputs: int) -> Any:
    """A network of paddle.vision."""
    return getattr(importlib.import_module("paddle.vision.models"), name)(num_classes=outputs)


def tiny(outputs: int) -> Any:
    """Two convolutions, average pool, linear."""
    import paddle
    from paddle import nn

    class Tiny(nn.Layer):  # type: ignore[misc]  # paddle is not typed
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2D(3, 8, 3, padding=1),
                nn.BatchNorm2D(8),
                nn.ReLU(),
                nn.MaxPool2D(2),
                nn.Conv2D(8, 16, 3, padding=1),
                nn.ReLU(),
            )
            self.pool = nn.AdaptiveAvgPool2D(1)
            self.classifier = nn.Linear(16, outputs)

        def forward(self, x: Any) -> Any:
            return self.classifier(paddle.flatten(self.pool(self.features(x)), 1))

    return Tiny()


def settled(build: Any, outputs: int, shape: Sequence[int]) -> Any:
    """Build a model, the same each time, with the statistics of some images, in evaluation mode.

    Parameters
    ----------
    build : callable
        From a number of outputs to a model.
    outputs : int
        Classes.
    shape : sequence of int
        (N, C, *space) of the images to come.
    """
    import paddle

    state = paddle.get_rng_state()
    try:
        paddle.seed(SEED)
        with paddle.no_grad():
            built = build(outputs)
            kinds = (paddle.nn.BatchNorm, paddle.nn.layer.norm._BatchNormBase)
            norms = [each for each in built.sublayers() if isinstance(each, kinds)]
            momenta = [norm._momentum for norm in norms]
            for norm in norms:
                norm._momentum = 0.0  # nothing of the initial values stays
            built.train()
            built(paddle.to_tensor(images((SETTLING, *shape[1:]), seed=1)))
            for norm, momentum in zip(norms, momenta, strict=True):
                norm._momentum = momentum
    finally:
        paddle.set_rng_state(state)
    built.eval()
    return built
