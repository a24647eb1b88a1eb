"""The catalogue: architectures as their libraries ship them, with random weights that test every layer."""

import importlib
import importlib.util
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from zoo.classifiers import TIMM, TORCHVISION, TRANSFORMERS
from zoo.entry import Architecture
from zoo.medical import MONAI, SEGMENTATION, TORCHXRAYVISION
from zoo.paddle_models import PADDLE

LIBRARIES: Mapping[str, tuple[Architecture, ...]] = MappingProxyType(
    {
        "torchvision": TORCHVISION,
        "timm": TIMM,
        "torchxrayvision": TORCHXRAYVISION,
        "monai": MONAI,
        "transformers": TRANSFORMERS,
        "segmentation_models_pytorch": SEGMENTATION,
        "paddle": PADDLE,
    }
)

CATALOGUE: Mapping[str, Architecture] = MappingProxyType(
    {each.key: each for architectures in LIBRARIES.values() for each in architectures}
)
"""Architectures by `Architecture.key`."""


def is_installed(library: str) -> bool:
    """Whether a library can be imported, without importing it."""
    return importlib.util.find_spec(library) is not None


def built(architecture: Architecture) -> Any:
    """The model in evaluation mode, with weights that are the same each time and leave no layer idle."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other libraries say of themselves while they are imported
        weights = importlib.import_module(f"zoo.{architecture.framework}_weights")
        return weights.built(architecture)
