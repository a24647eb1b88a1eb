"""Build a blueprint as a PyTorch module."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from xai_med.blueprints.blueprint import INPUT, Blueprint, Step
from xai_med.blueprints.validation import PlannedStep, planned
from xai_med.errors import SettingError

Operation = Callable[..., torch.Tensor]
Kinds = tuple[Callable[..., nn.Module], ...]

_CONVOLUTIONS: Kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS: Kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_MAX_POOLS: Kinds = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVERAGE_POOLS: Kinds = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_GLOBAL_AVERAGE_POOLS: Kinds = (
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
)
_GLOBAL_MAX_POOLS: Kinds = (
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
)


class BlueprintNetwork(nn.Module):
    """A network that runs named operations in order.

    Parameters
    ----------
    wiring : tuple of (str, tuple of str)
        Each step's name and the names of its inputs.
    operations : mapping of str to callable
        Modules become submodules under their step's name.
    """

    def __init__(self, wiring: tuple[tuple[str, tuple[str, ...]], ...], operations: Mapping[str, Operation]) -> None:
        super().__init__()
        self._wiring = wiring
        self._functions: dict[str, Operation] = {}
        for name, operation in operations.items():
            if isinstance(operation, nn.Module):
                self.add_module(name, operation)
            else:
                self._functions[name] = operation

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Run all steps; `image` is (N, C, *space)."""
        values = {INPUT: image}
        for name, sources in self._wiring:
            operation = self._functions[name] if name in self._functions else self.get_submodule(name)
            values[name] = operation(*(values[source] for source in sources))
        return values[self._wiring[-1][0]]


def build(blueprint: Blueprint, *, dtype: str = "float32") -> nn.Module:
    """Build a blueprint in evaluation mode, without touching the global random state.

    Parameters
    ----------
    blueprint : Blueprint
        Its arrays are copied.
    dtype : str
        PyTorch's name of a floating dtype.

    Raises
    ------
    SettingError, UnsupportedOperationError
        The blueprint is not sound, or the dtype is not floating.
    """
    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
        raise SettingError(f"dtype {dtype!r} is not a floating dtype of PyTorch; use 'float32' or 'float64'")
    operations: dict[str, Operation] = {}
    for plan in planned(blueprint):
        operation = _BUILDERS[plan.step.operation](plan)
        if isinstance(operation, nn.Module):
            _copy_arrays(operation.to(kind), plan.step)
        operations[plan.step.name] = operation
    wiring = tuple((step.name, step.inputs) for step in blueprint.steps)
    return BlueprintNetwork(wiring, operations).eval()


def _copy_arrays(module: nn.Module, step: Step) -> None:
    targets = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    with torch.no_grad():
        for name, array in step.arrays.items():
            source = torch.from_numpy(np.array(array))
            if source.shape != targets[name].shape:
                raise SettingError(
                    f"{step.name}.{name} has shape {array.shape}, the step needs {tuple(targets[name].shape)}"
                )
            targets[name].copy_(source)


def _blank(kind: Callable[..., nn.Module], *sizes: Any, **options: Any) -> nn.Module:
    # made on the meta device, because initialisers draw from the global random state elsewhere
    return kind(*sizes, **options, device="meta").to_empty(device="cpu")


def _convolution(plan: PlannedStep) -> Operation:
    out_channels, in_channels, *kernel = plan.step.arrays["weight"].shape
    kind = _CONVOLUTIONS[plan.space_axes - 1]
    return _blank(
        kind,
        in_channels * plan.options["groups"],
        out_channels,
        tuple(kernel),
        bias="bias" in plan.step.arrays,
        **plan.options,
    )


def _linear(plan: PlannedStep) -> Operation:
    outputs, inputs = plan.step.arrays["weight"].shape
    return _blank(nn.Linear, inputs, outputs, bias="bias" in plan.step.arrays)


def _batch_norm(plan: PlannedStep) -> Operation:
    return _BATCH_NORMS[plan.space_axes - 1](len(plan.step.arrays["weight"]), eps=plan.options["epsilon"])


def _relu(plan: PlannedStep) -> Operation:
    if plan.options["style"] == "functional":
        return functional.relu
    return nn.ReLU(inplace=plan.options["style"] == "in_place")


def _pool(kinds: Kinds, plan: PlannedStep) -> Operation:
    options = plan.options
    return kinds[plan.space_axes - 1](options["kernel"], stride=options["stride"], padding=options["padding"])


def _global_average_pool(plan: PlannedStep) -> Operation:
    return _mean if plan.options["style"] == "mean" else _GLOBAL_AVERAGE_POOLS[plan.space_axes - 1](1)


def _global_max_pool(plan: PlannedStep) -> Operation:
    return _GLOBAL_MAX_POOLS[plan.space_axes - 1](1)


def _add(plan: PlannedStep) -> Operation:
    return _add_in_place if plan.options["style"] == "in_place" else _add_operator


def _dropout(plan: PlannedStep) -> Operation:
    return nn.Dropout(plan.options["probability"])


def _plain(make: Callable[[], Operation], _: PlannedStep) -> Operation:
    return make()


def _mean(image: torch.Tensor) -> torch.Tensor:
    return image.mean(dim=tuple(range(2, image.ndim)))


def _flatten(image: torch.Tensor) -> torch.Tensor:
    return torch.flatten(image, 1)


def _concatenate(*images: torch.Tensor) -> torch.Tensor:
    return torch.cat(images, dim=1)


def _add_operator(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return left + right


def _add_in_place(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    left += right
    return left


def _multiply(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return left * right


_BUILDERS: Mapping[str, Callable[[PlannedStep], Operation]] = {
    "convolution": _convolution,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "relu": _relu,
    "silu": partial(_plain, nn.SiLU),
    "sigmoid": partial(_plain, nn.Sigmoid),
    "softmax": partial(_plain, partial(nn.Softmax, dim=1)),
    "max_pool": partial(_pool, _MAX_POOLS),
    "average_pool": partial(_pool, _AVERAGE_POOLS),
    "global_average_pool": _global_average_pool,
    "global_max_pool": _global_max_pool,
    "flatten": partial(_plain, lambda: _flatten),
    "concatenate": partial(_plain, lambda: _concatenate),
    "add": _add,
    "multiply": partial(_plain, lambda: _multiply),
    "dropout": _dropout,
}
