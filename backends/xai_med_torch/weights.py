"""Parameters and buffers of a PyTorch model: initialised, in memory, on one device, finite."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from xai_med.backend.framework import Inventory
from xai_med.backend.tracing.weak import TensorMap
from xai_med.errors import ModelError, NonFiniteError
from xai_med_torch.tensors import TENSORS


class _Looked(NamedTuple):
    """What was found when every value of a tensor was looked at."""

    version: int
    address: int
    device: torch.device
    dtype: str
    values: int


_sound: TensorMap[_Looked] = TensorMap()


def check_weights(layers: Mapping[str, nn.Module], *, afresh: bool) -> Inventory:
    """Look at every parameter and buffer.

    Reading all weights takes as long as a tenth of a forward pass, so those that PyTorch says were not written since
    they were last found finite are not read again. PyTorch counts every write but those through ``.data`` and through
    shared memory.

    Parameters
    ----------
    layers : mapping of str to Module
        All parts of the model by dotted name.
    afresh : bool
        Read every value, whatever is known.

    Raises
    ------
    ModelError
        A tensor is not initialised, holds no values, was made for inference only, or lies on another device.
    NonFiniteError
        A weight is NaN or infinite.
    """
    found: list[_Looked] = []
    pending: list[tuple[str, torch.Tensor]] = []
    for name, tensor in _tensors(layers):
        looked = None if afresh else _sound.get(tensor)
        if looked is None or looked.version != tensor._version or looked.address != tensor.data_ptr():
            pending.append((name, tensor))
        else:
            found.append(looked)
    if pending:
        found += _look_at(pending)
    devices = {looked.device for looked in found}
    if len(devices) > 1:
        raise ModelError(f"the model is spread over {sorted(map(str, devices))}; put it on one device")
    values = sum(looked.values for looked in found)
    return Inventory(len(found), values, tuple(sorted({looked.dtype for looked in found})))


def _tensors(layers: Mapping[str, nn.Module]) -> Iterator[tuple[str, torch.Tensor]]:
    """Each tensor once, with its dotted name."""
    seen = set()
    for prefix, module in layers.items():
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield f"{prefix}.{name}" if prefix else name, tensor


def _look_at(named: list[tuple[str, torch.Tensor]]) -> list[_Looked]:
    with torch.inference_mode(False), torch.no_grad():
        sums = []
        for name, tensor in named:
            _refuse_without_values(name, tensor)
            if tensor.is_floating_point():
                sums.append((name, tensor.detach().sum(dtype=torch.float64).cpu()))
        if sums and not bool(torch.isfinite(torch.stack([value for _, value in sums])).all()):
            bad = next(name for name, value in sums if not bool(torch.isfinite(value)))
            raise NonFiniteError(
                f"{bad} holds NaN or infinite values, so that no map can be trusted; load sound weights"
            )
        return [_remembered(tensor) for _, tensor in named]


def _refuse_without_values(name: str, tensor: Any) -> None:
    if isinstance(tensor, nn.parameter.UninitializedParameter | nn.parameter.UninitializedBuffer):
        raise ModelError(f"{name} is not initialised yet (a lazy layer); run the model once, or load its weights")
    if tensor.is_meta or isinstance(tensor, FakeTensor):
        place = "a FakeTensor" if isinstance(tensor, FakeTensor) else "on the meta device"
        raise ModelError(f"{name} is {place} and holds no values; load the model's weights")
    if tensor.is_inference():
        raise ModelError(
            f"{name} was created under inference_mode, which forbids gradients; build or load the model outside of it"
        )


def _remembered(tensor: torch.Tensor) -> _Looked:
    values = tensor.numel() if tensor.is_floating_point() else 0
    try:
        address = tensor.data_ptr()
    except RuntimeError:  # quantised, sparse and wrapped tensors have none, and are read each time
        return _Looked(-1, 0, tensor.device, TENSORS.dtype(tensor), values)
    looked = _Looked(tensor._version, address, tensor.device, TENSORS.dtype(tensor), values)
    _sound.set(tensor, looked)
    return looked
