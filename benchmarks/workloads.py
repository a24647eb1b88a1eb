"""The workloads: which model explains which batch. A new one is one entry."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.frameworks import paddle_models, torch_models
from benchmarks.jobs import OUTPUTS, Job


@dataclass(frozen=True)
class Workload:
    """A model as its library ships it, with random weights, and the shape of a batch.

    Parameters
    ----------
    key : str
        Short name on the command line and in results.
    title : str
        Of a table.
    framework : str
        ``"torch"`` or ``"paddle"``.
    module : str
        Must be importable.
    build : callable
        From a number of outputs to a model.
    shape : tuple of int
        (N, C, *space).
    layers : mapping of str to str
        The model's names of the ``"last"`` layer with cells and of one in the ``"middle"``; where it is missing, the
        job is not asked.
    head : str or None
        Name of the one linear layer behind the average pool; None where there is none.
    tokens : tuple of int or None
        Rows and columns of tokens, where the last layer holds a class token and these.
    family : str
        What libraries need to know of an architecture.
    outputs : int
        Classes.
    """

    key: str
    title: str
    framework: str
    module: str
    build: Callable[[int], Any]
    shape: tuple[int, ...]
    layers: Mapping[str, str]
    head: str | None
    family: str
    tokens: tuple[int, int] | None = None
    outputs: int = OUTPUTS

    def has(self, job: Job) -> bool:
        """Whether the job makes sense here."""
        return job.place == "input" or job.place in self.layers

    @property
    def words(self) -> str:
        """Model and batch in words."""
        space = self.shape[2:]
        extent = f"{space[0]}{'⁰¹²³'[len(space)]}" if len(set(space)) == 1 else " × ".join(map(str, space))
        return f"{self.title}, batch {self.shape[0]}, {self.shape[1]} × {extent}"

    @property
    def numbers(self) -> int:
        """How many values a batch holds."""
        return math.prod(self.shape)


def _torchvision(name: str, title: str, batch: int, **known: Any) -> Workload:
    key = f"{name}-b{batch}"
    build = partial(torch_models.torchvision_model, name)
    return Workload(key, title, "torch", "torchvision", build, (batch, 3, 224, 224), **known)


def _paddle(name: str, title: str, batch: int, **known: Any) -> Workload:
    key = f"paddle-{name}-b{batch}"
    return Workload(key, title, "paddle", "paddle", partial(paddle_models.model, name), (batch, 3, 224, 224), **known)


_DENSENET: Mapping[str, Any] = {
    "layers": {"last": "features", "middle": "features.transition2"},
    "head": "classifier",
    "family": "DenseNet",
}
_RESNET: Mapping[str, Any] = {"layers": {"last": "layer4", "middle": "layer2"}, "head": "fc", "family": "ResNet"}
_VGG: Mapping[str, Any] = {
    "layers": {"last": "features", "middle": "features.16"},
    "head": None,  # three linear layers
    "family": "VGG",
}

_ALL = (
    _torchvision("densenet121", "DenseNet-121", 1, **_DENSENET),
    _torchvision("densenet121", "DenseNet-121", 8, **_DENSENET),
    _torchvision("resnet50", "ResNet-50", 1, **_RESNET),
    _torchvision("resnet50", "ResNet-50", 8, **_RESNET),
    _torchvision("vgg16", "VGG-16", 1, **_VGG),
    Workload(
        "resnet18-3d-b1",
        "ResNet-18 3-D",
        "torch",
        "monai",
        torch_models.monai_resnet18_3d,
        (1, 1, 64, 64, 64),
        {"last": "layer4", "middle": "layer2"},
        "fc",
        "ResNet 3-D",
    ),
    Workload(
        "vit-small-b1",
        "ViT-S/16",
        "torch",
        "timm",
        torch_models.timm_vit_small,
        (1, 3, 224, 224),
        {"last": "blocks.11.norm1"},
        None,  # the class token is no average of places
        "ViT",
        tokens=(14, 14),
    ),
    _paddle(
        "densenet121",
        "DenseNet-121",
        1,
        layers={"last": "batch_norm", "middle": "tr_conv3_blk"},
        head="out",
        family="DenseNet",
    ),
    _paddle(
        "densenet121",
        "DenseNet-121",
        8,
        layers={"last": "batch_norm", "middle": "tr_conv3_blk"},
        head="out",
        family="DenseNet",
    ),
    _paddle("resnet50", "ResNet-50", 1, **_RESNET),
    _paddle("resnet50", "ResNet-50", 8, **_RESNET),
    _paddle("vgg16", "VGG-16", 1, **_VGG),
)

WORKLOADS: Mapping[str, Workload] = {workload.key: workload for workload in _ALL}

_TINY: Mapping[str, Any] = {"layers": {"last": "features", "middle": "features.3"}, "head": "classifier"}
TINY: Mapping[str, Workload] = {
    "torch": Workload(
        "tiny", "tiny network", "torch", "torch", torch_models.tiny, (2, 3, 32, 32), family="tiny", **_TINY
    ),
    "paddle": Workload(
        "paddle-tiny", "tiny network", "paddle", "paddle", paddle_models.tiny, (2, 3, 32, 32), family="tiny", **_TINY
    ),
}
"""For what must be run before anything is measured, and for tests."""

GROWING: Mapping[str, Workload] = {
    "torch": Workload(
        "resnet18-1000",
        "ResNet-18 with 1000 outputs",
        "torch",
        "torchvision",
        partial(torch_models.torchvision_model, "resnet18"),
        (1, 3, 224, 224),
        outputs=1000,
        **_RESNET,
    ),
    "paddle": Workload(
        "paddle-resnet18-1000",
        "ResNet-18 with 1000 outputs",
        "paddle",
        "paddle",
        partial(paddle_models.model, "resnet18"),
        (1, 3, 224, 224),
        outputs=1000,
        **_RESNET,
    ),
}
"""Small enough for whole curves, with many classes."""


def find_workload(key: str) -> Workload:
    """Find a workload by its exact name.

    Raises
    ------
    KeyError
        There is none.
    """
    known = {**WORKLOADS, **{each.key: each for each in (*TINY.values(), *GROWING.values())}}
    return known[key]
