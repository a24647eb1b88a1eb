"""The entry point of the PaddlePaddle adapter."""

from typing import Any

import numpy as np
import paddle

from xai_med.backend.network import TracedNetwork
from xai_med.backend.tensors import Array, Tensor, Tensors
from xai_med.blueprints.blueprint import Blueprint
from xai_med.errors import ModelError
from xai_med_paddle.blueprint import build
from xai_med_paddle.framework import PaddleFramework
from xai_med_paddle.tensors import TENSORS


class PaddleBackend:
    """`Backend` for ``paddle.nn.Layer``."""

    name = "paddle"

    @property
    def tensors(self) -> Tensors:
        """PaddlePaddle's tensor operations."""
        return TENSORS

    def recognises(self, model: object) -> bool:
        """Whether a model is a ``paddle.nn.Layer``."""
        return isinstance(model, paddle.nn.Layer)

    def network(self, model: Any) -> TracedNetwork:
        """Wrap a model.

        Raises
        ------
        ModelError
            It is not a ``paddle.nn.Layer``.
        """
        if not isinstance(model, paddle.nn.Layer):
            raise ModelError(f"the PaddlePaddle backend explains paddle.nn.Layer, got {type(model).__name__}")
        return TracedNetwork(PaddleFramework(), model)

    def tensor(self, array: Array) -> Tensor:
        """A tensor with the values of an array, copied."""
        return paddle.to_tensor(np.array(array, order="C"))

    def build(self, blueprint: Blueprint, *, dtype: str = "float32") -> Any:
        """Build a blueprint."""
        return build(blueprint, dtype=dtype)
