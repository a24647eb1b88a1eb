"""The network and one step of its training in PaddlePaddle."""

from itertools import pairwise

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional

from examples.gaze_supervision.learner import CHANNELS, Plan, initial_weights
from xai_med import Classes, attribute
from xai_med.backend.tensors import Array
from xai_med.gaze import attention_loss, refine_cams
from xai_med.registry import get_backend


class Network(nn.Layer):  # type: ignore[misc]  # paddle is not typed
    """Three stages, a global average pool and one logit; beside it a map of where somebody would look."""

    def __init__(self) -> None:
        super().__init__()
        for stage, (before, after) in enumerate(pairwise(CHANNELS)):
            self.add_sublayer(f"stage{stage}", nn.Conv2D(before, after, 3, padding=1, bias_attr=False))
            self.add_sublayer(f"norm{stage}", nn.BatchNorm2D(after))
        self.head = nn.Linear(CHANNELS[-1], 1)
        self.attention = nn.Conv2D(CHANNELS[-1], 1, 1)

    def features(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, 48, 16, 16)."""
        for stage in range(len(CHANNELS) - 1):
            x = functional.relu(getattr(self, f"norm{stage}")(getattr(self, f"stage{stage}")(x)))
            if stage < len(CHANNELS) - 2:
                x = functional.max_pool2d(x, 2)
        return x

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """One logit, (N, 1)."""
        return self.head(self.features(x).mean([2, 3]))

    def looked_at(self, x: paddle.Tensor) -> paddle.Tensor:
        """Logits of where somebody would look, (N, 16, 16)."""
        return self.attention(self.features(x))[:, 0]


class Learning:
    """`Learner` for PaddlePaddle."""

    def __init__(self, plan: Plan, *, seed: int) -> None:
        paddle.seed(seed)
        self.model = Network()
        arrays = dict(initial_weights(seed))
        arrays["head.weight"] = arrays["head.weight"].T  # Paddle's linear layers hold (in, out)
        initial = {name: paddle.to_tensor(array) for name, array in arrays.items()}
        self.model.set_state_dict({**self.model.state_dict(), **initial})
        self._plan = plan
        self._tensors = get_backend("paddle").tensors
        self._optimiser = paddle.optimizer.Adam(plan.learning_rate, parameters=self.model.parameters())

    def step(self, images: Array, labels: Array, gaze: Array, has_gaze: Array) -> float:
        """Binary cross-entropy, and what the plan adds to it."""
        x, y, looked = paddle.to_tensor(images), paddle.to_tensor(labels), paddle.to_tensor(gaze)
        loss = functional.binary_cross_entropy_with_logits(self.model(x)[:, 0], y)
        if self._plan.attention_weight and has_gaze.any():
            cams = attribute(self.model, x, method="cam", target=Classes(0), differentiable=True, detach_weights=True)
            refined = refine_cams(cams, tuple(looked.shape[1:]), tensors=self._tensors).cams[:, 0]
            loss = loss + self._plan.attention_weight * attention_loss(
                refined, looked, tensors=self._tensors, distance="kl", available=has_gaze
            )
        if self._plan.second_head_weight and has_gaze.any():
            coarse = functional.adaptive_max_pool2d(looked[:, None], 16)[:, 0]
            chosen = paddle.to_tensor(np.flatnonzero(has_gaze))
            places = paddle.index_select(self.model.looked_at(x), chosen)
            loss = loss + self._plan.second_head_weight * functional.binary_cross_entropy_with_logits(
                places, paddle.index_select(coarse, chosen)
            )
        self._optimiser.clear_grad()
        loss.backward()
        self._optimiser.step()
        return float(loss)

    def logits(self, images: Array) -> Array:
        """In chunks, without derivatives."""
        with paddle.no_grad():
            parts = [self.model(paddle.to_tensor(part))[:, 0].numpy() for part in np.array_split(images, 8)]
        return np.concatenate(parts)
