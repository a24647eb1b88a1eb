"""DenseNet-121 with a sigmoid in PyTorch; its parts have torchvision's names."""

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from examples.chexnet.architecture import BLOCKS, BOTTLENECK, GROWTH, STEM
from examples.chexnet.layouts import for_torch
from xai_med.backend.tensors import Array
from xai_med.registry import get_backend


class DenseLayer(nn.Module):
    """What it was given, and `GROWTH` channels more."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, BOTTLENECK, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK)
        self.conv2 = nn.Conv2d(BOTTLENECK, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, width, H, W) to (N, width + GROWTH, H, W)."""
        narrow = self.conv1(functional.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(functional.relu(self.norm2(narrow)))], dim=1)


class CheXNet(nn.Module):
    """One probability per finding.

    Parameters
    ----------
    classes, channels : int
        Outputs, and channels of the image.
    """

    def __init__(self, classes: int = 14, channels: int = 3) -> None:
        super().__init__()
        stages: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(channels, STEM, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(STEM),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        width = STEM
        for block, layers in enumerate(BLOCKS, start=1):
            stages[f"denseblock{block}"] = nn.Sequential(
                OrderedDict((f"denselayer{n + 1}", DenseLayer(width + n * GROWTH)) for n in range(layers))
            )
            width += layers * GROWTH
            if block < len(BLOCKS):
                stages[f"transition{block}"] = _transition(width)
                width //= 2
        stages["norm5"] = nn.BatchNorm2d(width)
        self.features = nn.Sequential(stages)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) to (N, classes)."""
        seen = functional.relu(self.features(x))
        return torch.sigmoid(self.classifier(seen.mean((2, 3))))


def _transition(width: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(width),
            relu=nn.ReLU(),
            conv=nn.Conv2d(width, width // 2, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )


def build(weights: Mapping[str, Array]) -> CheXNet:
    """The network with weights in torchvision's layout, in evaluation mode."""
    network = CheXNet(weights["classifier.weight"].shape[0], weights["features.conv0.weight"].shape[1])
    get_backend("torch").load_weights(network, for_torch(weights))
    return network.eval()
