"""The network and its training in PyTorch."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from examples.clear.network import LAST, STAGES, Plan, initial_weights
from xai_med.backend.tensors import Array


class Network(nn.Module):
    """Logits are the means of one map per class."""

    def __init__(self, channels: int, classes: int, *, batch_norm: bool) -> None:
        super().__init__()
        before = channels
        for name, after, size in STAGES:
            if after:
                self.add_module(name, nn.Conv2d(before, after, size, padding=size // 2, bias=not batch_norm))
                self.add_module(f"{name}_norm", nn.BatchNorm2d(after) if batch_norm else nn.Identity())
                before = after
        self.add_module(LAST, nn.Conv2d(before, classes, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) to (N, classes)."""
        for name, after, size in STAGES:
            if after:
                x = functional.relu(self.get_submodule(f"{name}_norm")(self.get_submodule(name)(x)))
            else:
                x = functional.max_pool2d(x, size)
        logits: torch.Tensor = self.get_submodule(LAST)(x).mean((2, 3))
        return logits


def train(images: Array, labels: Array, classes: int, plan: Plan) -> Iterator[tuple[float, Network]]:
    """Train by cross-entropy; yields the loss and the network after each step."""
    torch.manual_seed(plan.seed)
    network = Network(images.shape[1], classes, batch_norm=plan.batch_norm)
    weights = initial_weights(images.shape[1], classes, plan)
    given = {name: torch.tensor(array) for name, array in weights.items()}
    network.load_state_dict({**network.state_dict(), **given})
    network.train()
    optimiser = torch.optim.Adam(network.parameters())
    for rate, chosen in plan.steps(len(images)):
        optimiser.param_groups[0]["lr"] = rate
        loss = functional.cross_entropy(network(torch.tensor(images[chosen])), torch.tensor(labels[chosen]))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        yield float(loss.detach()), network


def logits(network: Network, images: Array) -> Array:
    """(N, classes), without derivatives."""
    with torch.no_grad():
        return np.concatenate([network(torch.tensor(part)).numpy() for part in np.array_split(images, 8)])
