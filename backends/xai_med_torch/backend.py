"""The entry point of the PyTorch adapter."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from xai_med.backend.state import Slot, check_state
from xai_med.backend.tensors import Array, Tensors
from xai_med.backend.tracing.traced_network import TracedNetwork
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

    def load_weights(self, model: Any, arrays: Mapping[str, Array]) -> None:
        """Fill a module with named arrays, all of its state and nothing else."""
        with torch.inference_mode(False), torch.no_grad():
            state = model.state_dict()
            check_state(
                {name: _slot(name, tensor) for name, tensor in state.items()},
                arrays,
                model=f"the {type(model).__name__}",
            )
            for name, array in arrays.items():
                state[name].copy_(torch.tensor(np.array(array)))
            # where a module hands out copies of its state, nothing was written
            lost = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, state[name])]
        if lost:
            raise ModelError(f"{lost[:5]} of the model could not be filled; its state_dict() gives copies")


def _slot(name: str, tensor: Any) -> Slot:
    if not isinstance(tensor, torch.Tensor) or tensor.is_quantized or tensor.layout != torch.strided:
        raise ModelError(f"{name} of the model's state is no plain tensor; fill this model by PyTorch's own means")
    lazy = (torch.nn.parameter.UninitializedParameter, torch.nn.parameter.UninitializedBuffer)
    if isinstance(tensor, lazy) or tensor.is_meta:
        raise ModelError(
            f"{name} of the model has no memory yet; run a lazy model once, or model.to_empty(device='cpu')"
        )
    if tensor.is_inference():
        raise ModelError(f"{name} was created under inference_mode and cannot be filled; build the model outside of it")
    return Slot(
        tuple(tensor.shape),
        str(tensor.dtype).removeprefix("torch."),
        memory=(str(tensor.device), tensor.data_ptr()) if tensor.numel() else None,
        # a count of training batches, which evaluation never reads and converters leave out
        is_optional=name.endswith("num_batches_tracked"),
    )
