"""What a DenseNet-121 consists of: the parts that every layout of its weights names in its own way."""

from collections.abc import Iterator
from dataclasses import dataclass

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
"""Outputs of CheXNet, in the order of the published checkpoints."""

BLOCKS = (6, 12, 24, 16)
GROWTH, BOTTLENECK, STEM = 32, 128, 64


@dataclass(frozen=True)
class Part:
    """One layer with weights.

    Parameters
    ----------
    name : str
        As torchvision names it.
    kind : str
        ``"convolution"``, ``"norm"`` or ``"linear"``.
    shape : tuple of int
        Of the weight, as PyTorch keeps it.
    """

    name: str
    kind: str
    shape: tuple[int, ...]


def parts(classes: int, channels: int) -> Iterator[Part]:
    """All layers with weights, from the image on (Huang et al. 2017, arXiv:1608.06993, table 1).

    Parameters
    ----------
    classes : int
        Outputs.
    channels : int
        Of the image.
    """
    yield Part("features.conv0", "convolution", (STEM, channels, 7, 7))
    yield Part("features.norm0", "norm", (STEM,))
    width = STEM
    for block, layers in enumerate(BLOCKS, start=1):
        for layer in range(1, layers + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            yield Part(f"{name}.norm1", "norm", (width,))
            yield Part(f"{name}.conv1", "convolution", (BOTTLENECK, width, 1, 1))
            yield Part(f"{name}.norm2", "norm", (BOTTLENECK,))
            yield Part(f"{name}.conv2", "convolution", (GROWTH, BOTTLENECK, 3, 3))
            width += GROWTH
        if block < len(BLOCKS):
            yield Part(f"features.transition{block}.norm", "norm", (width,))
            yield Part(f"features.transition{block}.conv", "convolution", (width // 2, width, 1, 1))
            width //= 2
    yield Part("features.norm5", "norm", (width,))
    yield Part("classifier", "linear", (classes, width))
