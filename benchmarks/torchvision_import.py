"""Importing torchvision beside a build of PyTorch that its wheel was not linked against."""

import importlib
from typing import Any

_kept: list[Any] = []  # operators live as long as the object that defined them


def import_torchvision() -> Any:
    """Import torchvision; where its wheel expects CUDA and torch has none, with two operators declared first.

    They are never called. Does nothing else where torchvision imports by itself.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error) or _kept:
            raise
    library = importlib.import_module("torch.library").Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)
    return importlib.import_module("torchvision")
