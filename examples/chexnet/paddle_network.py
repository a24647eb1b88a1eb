"""DenseNet-121 with a sigmoid in PaddlePaddle: the network of its own zoo."""

from collections.abc import Mapping

import paddle
from paddle import nn
from paddle.nn import functional

from examples.chexnet.architecture import STEM
from examples.chexnet.layouts import for_paddle
from xai_med.backend.tensors import Array
from xai_med.registry import get_backend


class CheXNet(nn.Layer):  # type: ignore[misc]  # paddle is not typed
    """One probability per finding.

    Parameters
    ----------
    classes, channels : int
        Outputs, and channels of the image.
    """

    def __init__(self, classes: int = 14, channels: int = 3) -> None:
        super().__init__()
        self.densenet121 = paddle.vision.models.densenet121(num_classes=classes)
        if channels != 3:  # the zoo's takes colour
            self.densenet121.conv1_func._conv = nn.Conv2D(channels, STEM, 7, stride=2, padding=3, bias_attr=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(N, channels, H, W) to (N, classes)."""
        return functional.sigmoid(self.densenet121(x))


def build(weights: Mapping[str, Array]) -> CheXNet:
    """The network with weights in torchvision's layout, in evaluation mode."""
    network = CheXNet(weights["classifier.weight"].shape[0], weights["features.conv0.weight"].shape[1])
    arrays = {f"densenet121.{name}": array for name, array in for_paddle(weights).items()}
    get_backend("paddle").load_weights(network, arrays)
    network.eval()
    return network
