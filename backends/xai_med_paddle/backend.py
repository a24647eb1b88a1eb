"""The entry point of the PaddlePaddle adapter."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle

from xai_med.backend.state import Slot, check_state
from xai_med.backend.tensors import Array, Tensor, Tensors
from xai_med.backend.tracing.traced_network import TracedNetwork
from xai_med.blueprints.blueprint import Blueprint
from xai_med.errors import ModelError
from xai_med_paddle.blueprint import build
from xai_med_paddle.framework import PaddleFramework
from xai_med_paddle.tensors import TENSORS, from_array


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
        return from_array(array)

    def build(self, blueprint: Blueprint, *, dtype: str = "float32") -> Any:
        """Build a blueprint."""
        return build(blueprint, dtype=dtype)

    def load_weights(self, model: Any, arrays: Mapping[str, Array]) -> None:
        """Fill a layer with named arrays, all of its state and nothing else."""
        with paddle.no_grad():
            state = model.state_dict()
            check_state(
                {name: _slot(name, tensor) for name, tensor in state.items()},
                arrays,
                model=f"the {type(model).__name__}",
            )
            for name, array in arrays.items():
                state[name].set_value(from_array(array).astype(state[name].dtype))
            # where a layer hands out copies of its state, nothing was written
            again = model.state_dict()
            lost = [name for name, tensor in again.items() if not np.array_equal(tensor.numpy(), state[name].numpy())]
        if lost:
            raise ModelError(f"{lost[:5]} of the model could not be filled; its state_dict() gives copies")


def _slot(name: str, tensor: Any) -> Slot:
    if not isinstance(tensor, paddle.Tensor) or not tensor.is_dense():
        raise ModelError(f"{name} of the model's state is no plain tensor; fill this model by PaddlePaddle's own means")
    if not tensor._is_initialized():
        raise ModelError(f"{name} of the model has no memory yet (paddle.LazyGuard); initialise the model first")
    memory = (str(tensor.place), tensor.data_ptr()) if tensor.size else None
    return Slot(tuple(tensor.shape), TENSORS.dtype(tensor), memory=memory)
