"""The network and its training in PaddlePaddle."""

from collections.abc import Iterator

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional

from examples.clear.network import LAST, STAGES, Plan, initial_weights
from xai_med.backend.tensors import Array


class Network(nn.Layer):  # type: ignore[misc]  # paddle is not typed
    """Logits are the means of one map per class."""

    def __init__(self, channels: int, classes: int, *, batch_norm: bool) -> None:
        super().__init__()
        before = channels
        for name, after, size in STAGES:
            if after:
                bias = False if batch_norm else None  # None is Paddle's word for yes
                self.add_sublayer(name, nn.Conv2D(before, after, size, padding=size // 2, bias_attr=bias))
                self.add_sublayer(f"{name}_norm", nn.BatchNorm2D(after) if batch_norm else nn.Identity())
                before = after
        self.add_sublayer(LAST, nn.Conv2D(before, classes, 3, padding=1))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, channels, H, W) to (N, classes)."""
        for name, after, size in STAGES:
            if after:
                x = functional.relu(getattr(self, f"{name}_norm")(getattr(self, name)(x)))
            else:
                x = functional.max_pool2d(x, size)
        return getattr(self, LAST)(x).mean([2, 3])


def train(images: Array, labels: Array, classes: int, plan: Plan) -> Iterator[tuple[float, Network]]:
    """Train by cross-entropy; yields the loss and the network after each step."""
    paddle.seed(plan.seed)
    network = Network(images.shape[1], classes, batch_norm=plan.batch_norm)
    weights = initial_weights(images.shape[1], classes, plan)
    given = {name: paddle.to_tensor(array) for name, array in weights.items()}
    network.set_state_dict({**network.state_dict(), **given})
    network.train()
    optimiser = paddle.optimizer.Adam(plan.learning_rate, parameters=network.parameters())
    for rate, chosen in plan.steps(len(images)):
        optimiser.set_lr(rate)
        loss = functional.cross_entropy(network(paddle.to_tensor(images[chosen])), paddle.to_tensor(labels[chosen]))
        optimiser.clear_grad()
        loss.backward()
        optimiser.step()
        yield float(loss), network


def logits(network: Network, images: Array) -> Array:
    """(N, classes), without derivatives."""
    with paddle.no_grad():
        return np.concatenate([network(paddle.to_tensor(part)).numpy() for part in np.array_split(images, 8)])
