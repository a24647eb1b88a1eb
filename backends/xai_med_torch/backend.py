"""The entry point of the PyTorch adapter."""

from typing import Any

import numpy as np
import torch

from xai_med.backend.network import TracedNetwork
from xai_med.backend.tensors import Array, Tensors
from xai_med.blueprints.blueprint import Blueprint
from xai_med.errors import ModelError
from xai_med_torch.blueprint import build
from xai_med_torch.framework import TorchFramework
from xai_med_torch.tensors import TENSORS


class TorchBackend:
    """`Backend` for ``torch.nn.Module``."""

    name = "torch"

    @property
    def tensors(self) -> Tensors:
        """PyTorch's tensor operations."""
        return TENSORS

    def recognises(self, model: object) -> bool:
        """Whether a model is a ``torch.nn.Module``."""
        return isinstance(model, torch.nn.Module)

    def network(self, model: Any) -> TracedNetwork:
        """Wrap a model.

        Raises
        ------
        ModelError
            It is not a ``torch.nn.Module``.
        """
        if not isinstance(model, torch.nn.Module):
            raise ModelError(f"the PyTorch backend explains torch.nn.Module, got {type(model).__name__}")
        return TracedNetwork(TorchFramework(), model)

    def tensor(self, array: Array) -> torch.Tensor:
        """A tensor with the values of an array, copied."""
        return torch.tensor(np.asarray(array))

    def build(self, blueprint: Blueprint, *, dtype: str = "float32") -> torch.nn.Module:
        """Build a blueprint."""
        return build(blueprint, dtype=dtype)
