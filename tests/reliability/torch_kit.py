"""PyTorch, in the words of `Kit`."""

import copy
import gc
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Network(nn.Module):
    """Named layers, and two functions that use them."""

    def __init__(
        self, layers: Mapping[str, Any], body: Callable[[Any, Any], Any], head: Callable[[Any, Any], Any]
    ) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self._body, self._head = body, head

    def forward(self, x: torch.Tensor) -> Any:
        return self._head(self, self._body(self, x))


class Applied(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self._function(x)


class TorchKit:
    name = "torch"

    def convolution(
        self, weight: np.ndarray, bias: np.ndarray | None = None, *, stride: int = 1, padding: int = 0
    ) -> nn.Module:
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[weight.ndim - 3]
        layer = kind(
            weight.shape[1], weight.shape[0], weight.shape[2:], stride=stride, padding=padding, bias=bias is not None
        )
        return _filled(layer, weight=weight, bias=bias)

    def linear(self, weight: np.ndarray, bias: np.ndarray | None = None) -> nn.Module:
        return _filled(nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None), weight=weight, bias=bias)

    def batch_norm(self, statistics: Mapping[str, np.ndarray]) -> nn.Module:
        return _filled(nn.BatchNorm2d(len(statistics["weight"])), **statistics)

    def relu(self, *, in_place: bool = False) -> nn.Module:
        return nn.ReLU(inplace=in_place)

    def activation(self, name: str) -> nn.Module:
        return {"silu": nn.SiLU, "gelu": nn.GELU}[name]()

    def max_pool(self, size: int) -> nn.Module:
        return nn.MaxPool2d(size)

    def global_average(self, axes: int) -> nn.Module:
        return (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[axes - 1](1)

    def dropout(self, share: float) -> nn.Module:
        return nn.Dropout(share)

    def parameter(self, values: np.ndarray) -> nn.Parameter:
        return nn.Parameter(torch.tensor(values, dtype=torch.float32))

    def module(self, function: Callable[[Any], Any]) -> nn.Module:
        return Applied(function)

    def network(
        self, layers: Mapping[str, Any], body: Callable[[Any, Any], Any], head: Callable[[Any, Any], Any]
    ) -> nn.Module:
        return Network(layers, body, head).eval()

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array)

    def array(self, tensor: torch.Tensor) -> np.ndarray:
        return tensor.detach().to(torch.float64).numpy().copy()

    def rectified(self, x: torch.Tensor, *, in_place: bool = False) -> torch.Tensor:
        return functional.relu(x, inplace=in_place)

    def convolved(self, x: torch.Tensor, weight: torch.Tensor, padding: int) -> torch.Tensor:
        return functional.conv2d(x, weight, padding=padding)

    def largest(self, x: torch.Tensor, size: int) -> torch.Tensor:
        return functional.max_pool2d(x, size)

    def global_maximum(self, x: torch.Tensor) -> torch.Tensor:
        return functional.adaptive_max_pool2d(x, 1).flatten(1)

    def joined(self, *tensors: torch.Tensor) -> torch.Tensor:
        return torch.cat(tensors, 1)

    def softmax(self, x: torch.Tensor) -> torch.Tensor:
        return functional.softmax(x, 1)

    def sigmoid(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(x)

    def exact(self, model: nn.Module) -> nn.Module:
        return copy.deepcopy(model).double()

    def run(self, function: Callable[[Any], Any], array: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return function(torch.tensor(array, dtype=torch.float64)).numpy().copy()

    def state(self, model: nn.Module) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, module in model.named_modules():
            for key, value in vars(module).items():
                if key == "training":
                    continue
                if isinstance(value, dict):
                    found[f"{name}.{key}"] = {inner: _frozen(item) for inner, item in value.items()}
                else:
                    found[f"{name}.{key}"] = _frozen(value)
        return found

    def gradients(self, model: nn.Module) -> dict[str, np.ndarray | None]:
        return {n: None if p.grad is None else p.grad.numpy().copy() for n, p in model.named_parameters()}

    def loss(self, model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return model(x).square().sum()

    def no_grad(self) -> AbstractContextManager[Any]:
        return torch.no_grad()

    def seed(self, number: int) -> None:
        torch.manual_seed(number)

    def draw(self) -> float:
        return float(torch.rand(()))

    def before(self, module: nn.Module, hook: Callable[..., Any]) -> Any:
        return module.register_forward_pre_hook(hook)

    def living(self) -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    def modules(self, model: nn.Module) -> list[nn.Module]:
        return list(model.modules())

    def zero_gradients(self, model: nn.Module) -> None:
        model.zero_grad()

    def freeze(self, model: nn.Module) -> None:
        model.requires_grad_(requires_grad=False)

    def fill(self, parameter: nn.Parameter, values: np.ndarray) -> None:
        with torch.no_grad():
            parameter.copy_(torch.tensor(values))

    def leaf(self, array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array, requires_grad=True)

    def attached(self, x: torch.Tensor) -> torch.Tensor:
        return x.clone().requires_grad_() * 1

    def requires_gradient(self, x: torch.Tensor) -> bool:
        return x.requires_grad

    def permuted(self, x: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        return x.permute(axes)

    def like(self, array: np.ndarray, tensor: torch.Tensor) -> torch.Tensor:
        return torch.tensor(array, dtype=tensor.dtype)

    def tensor_state(self, x: torch.Tensor) -> Any:
        gradient = None if x.grad is None else x.grad.numpy().tobytes()
        return x.detach().numpy().tobytes(), x.requires_grad, gradient, x._version, sorted(vars(x)), x._backward_hooks

    # ---- what only PyTorch has

    def mixed_precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", dtype=torch.bfloat16)

    def inference_mode(self) -> AbstractContextManager[Any]:
        return torch.inference_mode()

    def channels_last(self, thing: Any) -> Any:
        return thing.to(memory_format=torch.channels_last)

    def expanded(self, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return x.expand(*shape)

    def cast(self, thing: Any, dtype: str) -> Any:
        return thing.to(getattr(torch, dtype))

    def scripted(self, net: nn.Module) -> nn.Module:
        """The layers of a plain network in a row, as TorchScript."""
        return torch.jit.script(nn.Sequential(OrderedDict(net.named_children())).eval())

    def flatten(self) -> nn.Module:
        return nn.Flatten()

    def compiled(self, model: nn.Module, x: torch.Tensor) -> Any:
        """A compiled model that has run."""
        compiled = torch.compile(model, backend="eager")
        compiled(x)
        return compiled

    def data_parallel(self, model: nn.Module) -> nn.Module:
        return nn.DataParallel(model)

    def lazy_convolution(self, outputs: int) -> nn.Module:
        return nn.LazyConv2d(outputs, 3, padding=1)

    def quantised(self, model: nn.Module) -> nn.Module:
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear})


def _filled(layer: nn.Module, **arrays: np.ndarray | None) -> nn.Module:
    with torch.no_grad():
        for name, array in arrays.items():
            if array is not None:
                getattr(layer, name).copy_(torch.tensor(array))
    return layer


def _frozen(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().numpy().tobytes(), value.requires_grad, sorted(vars(value))
    return id(value) if callable(value) else repr(value)
