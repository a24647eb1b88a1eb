"""PyTorch models with random weights whose batch norms know the images."""

import importlib
from collections.abc import Sequence
from typing import Any

from benchmarks.images import images
from benchmarks.torchvision_import import import_torchvision

SEED = 20240501
SETTLING = 4
"""Images from which batch norms take their statistics."""


def torchvision_model(name: str, outputs: int) -> Any:
    """A network of torchvision."""
    import_torchvision()
    return getattr(importlib.import_module("torchvision.models"), name)(weights=None, num_classes=outputs)


def timm_vit_small(outputs: int) -> Any:
    """ViT-S/16 of timm."""
    import_torchvision()
    return importlib.import_module("timm").create_model("vit_small_patch16_224", num_classes=outputs)


def monai_resnet18_3d(outputs: int) -> Any:
    """A ResNet-18 of MONAI with three space axes and one channel, its first stride 2 as in two dimensions."""
    networks = importlib.import_module("monai.networks.nets")
    return networks.resnet18(spatial_dims=3, n_input_channels=1, conv1_t_stride=2, num_classes=outputs)


def tiny(outputs: int) -> Any:
    """Two convolutions, average pool, linear."""
    from torch import nn

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(8, 16, 3, padding=1),
                nn.ReLU(),
            )
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.classifier = nn.Linear(16, outputs)

        def forward(self, x: Any) -> Any:
            return self.classifier(self.pool(self.features(x)).flatten(1))

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
    import torch

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        model = build(outputs)
        norms = [each for each in model.modules() if isinstance(each, torch.nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = None  # the average of what comes, nothing of the initial values
            norm.reset_running_stats()
        if norms:
            model.train()(torch.from_numpy(images((SETTLING, *shape[1:]), seed=1)))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return model.eval()
