"""How much of a logit arrives at the pixels, in our LRP and in that of others."""

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import peers
from zoo.stubs import define_torchvision_operators

from xai_med import explain

LARGE: Mapping[str, str] = {
    "DenseNet-121": "densenet121",
    "ResNet-50": "resnet50",
    "ResNet-18": "resnet18",
    "VGG-16": "vgg16",
}
"""Names for people, and in the model collections of both frameworks."""


def torchvision_model(name: str) -> Any:
    """A model of torchvision with random weights, the same each time; the global random state is left alone."""
    import torch

    define_torchvision_operators()
    models = importlib.import_module("torchvision.models")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models.get_model(name, weights=None).eval()


def paddle_model(name: str) -> Any:
    """A model of paddle.vision with random weights, the same each time."""
    import paddle

    state = paddle.get_rng_state()
    try:
        paddle.seed(0)
        model = getattr(importlib.import_module("paddle.vision.models"), name)(pretrained=False)
    finally:
        paddle.set_rng_state(state)
    model.eval()
    return model


def random_images(count: int, size: int) -> np.ndarray:
    """Images of the size, signed, float32."""
    return np.random.default_rng(0).normal(size=(count, 3, size, size)).astype(np.float32)


def our_share(model: Any, images: np.ndarray, **asked: Any) -> np.ndarray:
    """Share of the explained logit that arrives, (N,)."""
    found = explain(model, images, method="lrp", target=[0] * len(images), **asked)
    return found.attribution.reshape(len(images), -1).astype(np.float64).sum(axis=1) / found.scores[:, 0]


def share_of(relevance: np.ndarray, model: Any, images: np.ndarray) -> np.ndarray:
    """Share of the logit of class 0 that a peer's relevance (N, 1, C, *space) amounts to, (N,)."""
    import torch

    with torch.no_grad():
        scores = model(torch.from_numpy(images)).numpy()[:, 0]
    return relevance.reshape(len(images), -1).astype(np.float64).sum(axis=1) / scores


def zennit_share(name: str, model: Any, images: np.ndarray, *, canonized: bool) -> np.ndarray:
    """Share that arrives with zennit's EpsilonPlus, with the canonizer that zennit has for the architecture."""
    canonizers: tuple[Any, ...] = ()
    if canonized:
        peers.zennit()
        found = importlib.import_module("zennit.torchvision")
        kinds = {"resnet": found.ResNetCanonizer, "vgg": found.VGGCanonizer, "densenet": found.SequentialMergeBatchNorm}
        canonizers = (next(kind for prefix, kind in kinds.items() if name.startswith(prefix))(),)
    return share_of(peers.zennit_epsilon_plus(model, images, [0], canonizers), model, images)


def captum_share(model: Any, images: np.ndarray) -> np.ndarray:
    """Share that arrives with captum's LRP."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return share_of(peers.captum_lrp(model, images, [0]), model, images)
