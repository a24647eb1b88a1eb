"""PaddlePaddle, in the words of `Kit`."""

import copy
import gc
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional


class Network(nn.Layer):
    """Named layers, and two functions that use them."""

    def __init__(
        self, layers: Mapping[str, Any], body: Callable[[Any, Any], Any], head: Callable[[Any, Any], Any]
    ) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self._body, self._head = body, head

    def forward(self, x: paddle.Tensor) -> Any:
        return self._head(self, self._body(self, x))


class Applied(nn.Layer):
    """A function as a layer."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: paddle.Tensor) -> Any:
        return self._function(x)


class InPlaceReLU(nn.Layer):
    """Paddle has no such layer; users write it so."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return functional.relu_(x)


class PaddleKit:
    name = "paddle"

    def convolution(
        self, weight: np.ndarray, bias: np.ndarray | None = None, *, stride: int = 1, padding: int = 0
    ) -> nn.Layer:
        kind = (nn.Conv1D, nn.Conv2D, nn.Conv3D)[weight.ndim - 3]
        layer = kind(
            weight.shape[1],
            weight.shape[0],
            list(weight.shape[2:]),
            stride=stride,
            padding=padding,
            bias_attr=None if bias is not None else False,
        )
        return _filled(layer, weight=weight, bias=bias)

    def linear(self, weight: np.ndarray, bias: np.ndarray | None = None) -> nn.Layer:
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias_attr=None if bias is not None else False)
        return _filled(layer, weight=weight.T, bias=bias)

    def batch_norm(self, statistics: Mapping[str, np.ndarray]) -> nn.Layer:
        names = {"running_mean": "_mean", "running_var": "_variance"}
        arrays = {names.get(name, name): array for name, array in statistics.items()}
        return _filled(nn.BatchNorm2D(len(statistics["weight"])), **arrays)

    def relu(self, *, in_place: bool = False) -> nn.Layer:
        return InPlaceReLU() if in_place else nn.ReLU()

    def activation(self, name: str) -> nn.Layer:
        return {"silu": nn.Silu, "gelu": nn.GELU}[name]()

    def max_pool(self, size: int) -> nn.Layer:
        return nn.MaxPool2D(size)

    def global_average(self, axes: int) -> nn.Layer:
        return (nn.AdaptiveAvgPool1D, nn.AdaptiveAvgPool2D, nn.AdaptiveAvgPool3D)[axes - 1](1)

    def dropout(self, share: float) -> nn.Layer:
        return nn.Dropout(share)

    def parameter(self, values: np.ndarray) -> Any:
        initial = nn.initializer.Assign(values.astype(np.float32))
        return paddle.create_parameter(list(values.shape), "float32", default_initializer=initial)

    def module(self, function: Callable[[Any], Any]) -> nn.Layer:
        return Applied(function)

    def network(
        self, layers: Mapping[str, Any], body: Callable[[Any, Any], Any], head: Callable[[Any, Any], Any]
    ) -> nn.Layer:
        network = Network(layers, body, head)
        network.eval()
        return network

    def tensor(self, array: np.ndarray) -> paddle.Tensor:
        return paddle.to_tensor(array)

    def array(self, tensor: paddle.Tensor) -> np.ndarray:
        return np.array(tensor.detach().numpy(), dtype=np.float64)

    def rectified(self, x: paddle.Tensor, *, in_place: bool = False) -> paddle.Tensor:
        return functional.relu_(x) if in_place else functional.relu(x)

    def convolved(self, x: paddle.Tensor, weight: paddle.Tensor, padding: int) -> paddle.Tensor:
        return functional.conv2d(x, weight, padding=padding)

    def largest(self, x: paddle.Tensor, size: int) -> paddle.Tensor:
        return functional.max_pool2d(x, size)

    def global_maximum(self, x: paddle.Tensor) -> paddle.Tensor:
        return functional.adaptive_max_pool2d(x, 1).flatten(1)

    def joined(self, *tensors: paddle.Tensor) -> paddle.Tensor:
        return paddle.concat(list(tensors), 1)

    def softmax(self, x: paddle.Tensor) -> paddle.Tensor:
        return functional.softmax(x, 1)

    def sigmoid(self, x: paddle.Tensor) -> paddle.Tensor:
        return functional.sigmoid(x)

    def exact(self, model: nn.Layer) -> nn.Layer:
        return copy.deepcopy(model).to(dtype="float64")

    def run(self, function: Callable[[Any], Any], array: np.ndarray) -> np.ndarray:
        with paddle.no_grad():
            return np.array(function(paddle.to_tensor(np.asarray(array, np.float64))).numpy())

    def state(self, model: nn.Layer) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, module in model.named_sublayers(include_self=True):
            for key, value in vars(module).items():
                if key in ("training", "_built"):  # _built: Paddle's own note that a layer has run
                    continue
                if isinstance(value, dict):
                    found[f"{name}.{key}"] = {inner: _frozen(item) for inner, item in value.items()}
                else:
                    found[f"{name}.{key}"] = _frozen(value)
        return found

    def gradients(self, model: nn.Layer) -> dict[str, np.ndarray | None]:
        return {n: None if p.grad is None else np.array(p.grad.numpy()) for n, p in model.named_parameters()}

    def loss(self, model: nn.Layer, x: paddle.Tensor) -> paddle.Tensor:
        return model(x).square().sum()

    def no_grad(self) -> AbstractContextManager[Any]:
        return paddle.no_grad()

    def seed(self, number: int) -> None:
        paddle.seed(number)

    def draw(self) -> float:
        return float(paddle.rand([1]).numpy()[0])

    def before(self, module: nn.Layer, hook: Callable[..., Any]) -> Any:
        return module.register_forward_pre_hook(hook)

    def living(self) -> int:
        gc.collect()
        return sum(issubclass(type(thing), paddle.Tensor) for thing in gc.get_objects())

    def modules(self, model: nn.Layer) -> list[nn.Layer]:
        return [model, *model.sublayers()]

    def zero_gradients(self, model: nn.Layer) -> None:
        model.clear_gradients()

    def freeze(self, model: nn.Layer) -> None:
        for parameter in model.parameters():
            parameter.stop_gradient = True

    def fill(self, parameter: Any, values: np.ndarray) -> None:
        dtype = np.float64 if parameter.dtype == paddle.float64 else np.float32
        parameter.set_value(np.asarray(values.T if values.ndim == 2 else values, dtype))

    def leaf(self, array: np.ndarray) -> paddle.Tensor:
        return paddle.to_tensor(array, stop_gradient=False)

    def attached(self, x: paddle.Tensor) -> paddle.Tensor:
        leaf = x.clone().detach()
        leaf.stop_gradient = False
        return leaf * 1

    def requires_gradient(self, x: paddle.Tensor) -> bool:
        return not x.stop_gradient

    def permuted(self, x: paddle.Tensor, axes: tuple[int, ...]) -> paddle.Tensor:
        return x.transpose(list(axes))

    def like(self, array: np.ndarray, tensor: paddle.Tensor) -> paddle.Tensor:
        return paddle.to_tensor(array).astype(tensor.dtype)

    def tensor_state(self, x: paddle.Tensor) -> Any:
        gradient = None if x.grad is None else np.array(x.grad.numpy()).tobytes()
        return np.array(x.detach().numpy()).tobytes(), x.stop_gradient, gradient, x.inplace_version, sorted(vars(x))


def _filled(layer: nn.Layer, **arrays: np.ndarray | None) -> nn.Layer:
    for name, array in arrays.items():
        if array is not None:
            getattr(layer, name).set_value(np.asarray(array, np.float32))
    return layer


def _frozen(value: Any) -> Any:
    if isinstance(value, paddle.Tensor):
        return np.array(value.numpy()).tobytes(), value.stop_gradient, sorted(vars(value))
    return id(value) if callable(value) else repr(value)
