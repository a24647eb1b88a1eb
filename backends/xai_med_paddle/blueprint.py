"""Build a blueprint as a Paddle layer."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional

from xai_med.backend.tensors import Array, Tensor
from xai_med.blueprints.blueprint import INPUT, Blueprint, Step
from xai_med.blueprints.validation import PlannedStep, planned
from xai_med.errors import SettingError

Operation = Callable[..., Tensor]
Kinds = tuple[Callable[..., Operation], ...]

_DTYPES = ("float16", "bfloat16", "float32", "float64")
_LAYER_NAMES = {"running_mean": "_mean", "running_var": "_variance"}

_CONVOLUTIONS: Kinds = (nn.Conv1D, nn.Conv2D, nn.Conv3D)
_BATCH_NORMS: Kinds = (nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D)
_MAX_POOLS: Kinds = (nn.MaxPool1D, nn.MaxPool2D, nn.MaxPool3D)
_AVERAGE_POOLS: Kinds = (nn.AvgPool1D, nn.AvgPool2D, nn.AvgPool3D)
_GLOBAL_AVERAGE_POOLS: Kinds = (nn.AdaptiveAvgPool1D, nn.AdaptiveAvgPool2D, nn.AdaptiveAvgPool3D)
_GLOBAL_MAX_POOLS: Kinds = (nn.AdaptiveMaxPool1D, nn.AdaptiveMaxPool2D, nn.AdaptiveMaxPool3D)


class BlueprintNetwork(nn.Layer):  # type: ignore[misc]  # mypy skips paddle, its classes are Any
    """A network that runs named operations in order.

    Parameters
    ----------
    wiring : tuple of (str, tuple of str)
        Each step's name and the names of its inputs.
    operations : mapping of str to callable
        Layers become sublayers under their step's name.
    """

    def __init__(self, wiring: tuple[tuple[str, tuple[str, ...]], ...], operations: Mapping[str, Operation]) -> None:
        super().__init__()
        self._wiring = wiring
        self._functions: dict[str, Operation] = {}
        for name, operation in operations.items():
            if isinstance(operation, nn.Layer):
                self.add_sublayer(name, operation)
            else:
                self._functions[name] = operation

    def forward(self, image: Tensor) -> Tensor:
        """Run all steps; `image` is (N, C, *space)."""
        values = {INPUT: image}
        for name, sources in self._wiring:
            operation = self._functions[name] if name in self._functions else self._sub_layers[name]
            values[name] = operation(*(values[source] for source in sources))
        return values[self._wiring[-1][0]]


def build(blueprint: Blueprint, *, dtype: str = "float32") -> Any:
    """Build a blueprint as a `paddle.nn.Layer` in evaluation mode, leaving the global random state alone.

    Parameters
    ----------
    blueprint : Blueprint
        Its arrays are copied.
    dtype : str
        Paddle's name of a floating dtype.

    Raises
    ------
    SettingError, UnsupportedOperationError
        The blueprint is not sound, or the dtype is not floating.
    """
    if dtype not in _DTYPES:
        raise SettingError(f"dtype {dtype!r} is not a floating dtype of Paddle; use one of {list(_DTYPES)}")
    operations: dict[str, Operation] = {}
    for plan in planned(blueprint):
        operation = _BUILDERS[plan.step.operation](plan)
        if isinstance(operation, nn.Layer):
            operation.to(dtype=dtype)
            _copy_arrays(operation, plan.step)
        operations[plan.step.name] = operation
    network = BlueprintNetwork(tuple((step.name, step.inputs) for step in blueprint.steps), operations)
    network.eval()
    return network


def _copy_arrays(layer: Any, step: Step) -> None:
    for name, array in step.arrays.items():
        target = getattr(layer, _LAYER_NAMES.get(name, name))
        source = _in_paddle_layout(step, name, array)
        if source.shape != tuple(target.shape):
            raise SettingError(
                f"{step.name}.{name} is {source.shape} in Paddle's layout instead of {tuple(target.shape)}"
            )
        target.set_value(paddle.to_tensor(source).astype(target.dtype))


def _in_paddle_layout(step: Step, name: str, array: Array) -> Array:
    # Paddle keeps a linear layer's weight as (in, out)
    is_transposed = step.operation == "linear" and name == "weight"
    return np.array(array.T if is_transposed else array, order="C")


def _blank(plan: PlannedStep) -> dict[str, Any]:
    # constants, because Paddle's default initialisers would draw from the global random state
    weight = paddle.ParamAttr(initializer=nn.initializer.Constant(0.0))
    bias = paddle.ParamAttr(initializer=nn.initializer.Constant(0.0))
    return {"weight_attr": weight, "bias_attr": bias if "bias" in plan.step.arrays else False}


def _convolution(plan: PlannedStep) -> Operation:
    out_channels, in_channels, *kernel = plan.step.arrays["weight"].shape
    kind = _CONVOLUTIONS[plan.space_axes - 1]
    return kind(in_channels * plan.options["groups"], out_channels, kernel, **plan.options, **_blank(plan))


def _linear(plan: PlannedStep) -> Operation:
    outputs, inputs = plan.step.arrays["weight"].shape
    layer: Operation = nn.Linear(inputs, outputs, **_blank(plan))
    return layer


def _batch_norm(plan: PlannedStep) -> Operation:
    kind = _BATCH_NORMS[plan.space_axes - 1]
    return kind(len(plan.step.arrays["weight"]), epsilon=plan.options["epsilon"])


def _relu(plan: PlannedStep) -> Operation:
    operations: dict[str, Operation] = {
        "module": nn.ReLU(),
        "functional": functional.relu,
        "in_place": functional.relu_,
    }
    return operations[plan.options["style"]]


def _max_pool(plan: PlannedStep) -> Operation:
    options = plan.options
    kind = _MAX_POOLS[plan.space_axes - 1]
    return kind(options["kernel"], stride=options["stride"], padding=options["padding"])


def _average_pool(plan: PlannedStep) -> Operation:
    options = plan.options
    kind = _AVERAGE_POOLS[plan.space_axes - 1]
    return kind(
        options["kernel"],
        stride=options["stride"],
        padding=options["padding"],
        exclusive=False,  # padding cells count in the divisor, as in PyTorch
    )


def _global_average_pool(plan: PlannedStep) -> Operation:
    if plan.options["style"] == "mean":
        return _mean
    return _GLOBAL_AVERAGE_POOLS[plan.space_axes - 1](1)


def _global_max_pool(plan: PlannedStep) -> Operation:
    return _GLOBAL_MAX_POOLS[plan.space_axes - 1](1)


def _add(plan: PlannedStep) -> Operation:
    return _add_in_place if plan.options["style"] == "in_place" else _add_operator


def _dropout(plan: PlannedStep) -> Operation:
    layer: Operation = nn.Dropout(plan.options["probability"])
    return layer


def _plain(make: Callable[[], Operation], _: PlannedStep) -> Operation:
    return make()


def _mean(image: Tensor) -> Tensor:
    return image.mean(axis=list(range(2, image.ndim)))


def _flatten(image: Tensor) -> Tensor:
    return paddle.flatten(image, 1)


def _concatenate(*images: Tensor) -> Tensor:
    return paddle.concat(list(images), axis=1)


def _add_operator(left: Tensor, right: Tensor) -> Tensor:
    return left + right


def _add_in_place(left: Tensor, right: Tensor) -> Tensor:
    return left.add_(right)  # `left += right` would bind a new tensor


def _multiply(left: Tensor, right: Tensor) -> Tensor:
    return left * right


_BUILDERS: Mapping[str, Callable[[PlannedStep], Operation]] = {
    "convolution": _convolution,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "relu": _relu,
    "silu": partial(_plain, nn.Silu),
    "sigmoid": partial(_plain, nn.Sigmoid),
    "softmax": partial(_plain, partial(nn.Softmax, axis=1)),
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "global_average_pool": _global_average_pool,
    "global_max_pool": _global_max_pool,
    "flatten": partial(_plain, lambda: _flatten),
    "concatenate": partial(_plain, lambda: _concatenate),
    "add": _add,
    "multiply": partial(_plain, lambda: _multiply),
    "dropout": _dropout,
}
