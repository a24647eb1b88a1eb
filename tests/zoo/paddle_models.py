"""Classifiers of paddle.vision. Nothing is downloaded, nothing is modified."""

import importlib
from functools import partial
from typing import Any

from zoo.entry import CLASSES, Architecture, Head

WIDE = (3, 128, 64)


def paddle_model(name: str) -> Any:
    """A classifier of paddle.vision without trained weights."""
    models = importlib.import_module("paddle.vision.models")
    return getattr(models, name)(pretrained=False, num_classes=CLASSES)


def _paddle(name: str, family: str, **known: Any) -> Architecture:
    return Architecture(name, "paddle", family, WIDE, partial(paddle_model, name), **known)


PADDLE = (
    _paddle("vgg11", "VGG", head=Head("avgpool"), note="pool of 7 x 7, then three linear layers"),
    _paddle("resnet18", "ResNet", head=Head("layer4", "fc")),
    _paddle("resnet50", "ResNet", head=Head("layer4", "fc")),
    _paddle("densenet121", "DenseNet", head=Head("batch_norm", "out")),
    _paddle("mobilenet_v3_small", "MobileNet", head=Head("lastconv"), note="a hidden layer behind the pool"),
)
