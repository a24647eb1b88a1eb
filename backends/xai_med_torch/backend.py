"""The entry point of the PyTorch adapter."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from xai_med.backend.network import TracedNetwork
from xai_med.backend.tensors import Array, Tensors
from xai_med.blueprints.blueprint import Blueprint
from xai_med.errors import FileFormatError, ModelError
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
        state = model.state_dict()
        # a count of training batches, which evaluation never reads and converters leave out
        counters = {name for name in state if name.endswith("num_batches_tracked")}
        missing, extra = sorted(set(state) - set(arrays) - counters), sorted(set(arrays) - set(state))
        wrong = [name for name in state.keys() & arrays.keys() if tuple(state[name].shape) != arrays[name].shape]
        if missing or extra or wrong:
            raise FileFormatError(
                f"the weights do not fit the model: missing {missing[:5]}, not in the model {extra[:5]}, "
                f"of another shape {sorted(wrong)[:5]}"
            )
        bad = [name for name, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
        if bad:
            raise FileFormatError(f"the weights hold NaN or infinite values in {sorted(bad)[:5]}")
        with torch.no_grad():
            for name, array in arrays.items():
                state[name].copy_(torch.tensor(array))
