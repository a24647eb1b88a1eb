"""The network and one step of its training in PyTorch."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from examples.gaze_supervision.learner import CHANNELS, Plan, initial_weights
from xai_med import Classes, attribute
from xai_med.backend.tensors import Array
from xai_med.gaze import attention_loss, refine_cams
from xai_med.registry import get_backend


class Network(nn.Module):
    """Three stages, a global average pool and one logit; beside it a map of where somebody would look."""

    def __init__(self) -> None:
        super().__init__()
        for stage, (before, after) in enumerate(pairwise(CHANNELS)):
            self.add_module(f"stage{stage}", nn.Conv2d(before, after, 3, padding=1, bias=False))
            self.add_module(f"norm{stage}", nn.BatchNorm2d(after))
        self.head = nn.Linear(CHANNELS[-1], 1)
        self.attention = nn.Conv2d(CHANNELS[-1], 1, 1)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 48, 16, 16)."""
        for stage in range(len(CHANNELS) - 1):
            x = functional.relu(self.get_submodule(f"norm{stage}")(self.get_submodule(f"stage{stage}")(x)))
            if stage < len(CHANNELS) - 2:
                x = functional.max_pool2d(x, 2)
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One logit, (N, 1)."""
        logit: torch.Tensor = self.head(self.features(x).mean((2, 3)))
        return logit

    def looked_at(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of where somebody would look, (N, 16, 16)."""
        place: torch.Tensor = self.attention(self.features(x))[:, 0]
        return place


class Learning:
    """`Learner` for PyTorch."""

    def __init__(self, plan: Plan, *, seed: int) -> None:
        torch.manual_seed(seed)
        self.model = Network()
        initial = {name: torch.tensor(array) for name, array in initial_weights(seed).items()}
        self.model.load_state_dict({**self.model.state_dict(), **initial})
        self._plan = plan
        self._tensors = get_backend("torch").tensors
        self._optimiser = torch.optim.Adam(self.model.parameters(), lr=plan.learning_rate)

    def step(self, images: Array, labels: Array, gaze: Array, has_gaze: Array) -> float:
        """Binary cross-entropy, and what the plan adds to it."""
        x, y, looked = torch.tensor(images), torch.tensor(labels), torch.tensor(gaze)
        loss = functional.binary_cross_entropy_with_logits(self.model(x)[:, 0], y)
        if self._plan.attention_weight and has_gaze.any():
            cams = attribute(self.model, x, method="cam", target=Classes(0), differentiable=True, detach_weights=True)
            refined = refine_cams(cams, looked.shape[1:], tensors=self._tensors).cams[:, 0]
            loss = loss + self._plan.attention_weight * attention_loss(
                refined, looked, tensors=self._tensors, distance="kl", available=has_gaze
            )
        if self._plan.second_head_weight and has_gaze.any():
            coarse = functional.adaptive_max_pool2d(looked[:, None], 16)[:, 0]
            chosen = torch.tensor(has_gaze)
            places = self.model.looked_at(x)[chosen]
            loss = loss + self._plan.second_head_weight * functional.binary_cross_entropy_with_logits(
                places, coarse[chosen]
            )
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return float(loss.detach())

    def logits(self, images: Array) -> Array:
        """In chunks, without derivatives."""
        with torch.no_grad():
            parts = [self.model(torch.tensor(part))[:, 0].numpy() for part in np.array_split(images, 8)]
        return np.concatenate(parts)
