"""What importing torchvision needs beside a build of PyTorch that it was not linked against."""

import importlib
from typing import Any

_kept: dict[str, Any] = {}


def define_torchvision_operators() -> None:
    """Define the two operators without which a CUDA wheel of torchvision cannot be imported beside a CPU torch.

    Does nothing where torchvision imports by itself. The operators are never called; goes when the wheel fits the
    torch that is installed.
    """
    import torch

    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "nms" not in str(error) or "library" in _kept:
            raise
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept["library"] = library  # the operators live as long as this object
        importlib.import_module("torchvision")
