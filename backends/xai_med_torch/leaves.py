"""PyTorch's own modules that call one function: reported as that call, without running what lies in between.

A mode that sees every function, and hooks around every module, cost more than a small layer takes to run. What a
convolution, a batch norm or a ReLU of `torch.nn` will call is known beforehand, and is reported as it would be seen.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules import module as torch_module

Called = tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]
"""A function, its arguments, and those given by name."""

_NONE: Mapping[str, Any] = MappingProxyType({})
_PARAMETERS = (nn.Parameter, type(None))  # a weight of another class was computed, perhaps from the image
_BUFFERS = (torch.Tensor, type(None))


def _own(attributes: Mapping[str, Any], table: str, kinds: tuple[type, ...], *names: str) -> list[Any] | None:
    """Tensors of a module by name; None where one is missing, hidden, or of another class."""
    tensors = attributes[table]
    found = []
    for name in names:
        if name not in tensors or name in attributes or type(tensors[name]) not in kinds:
            return None
        found.append(tensors[name])
    return found


def _convolution(function: Callable[..., Any]) -> Callable[[Any, Mapping[str, Any], torch.Tensor], Called | None]:
    def called(_: Any, given: Mapping[str, Any], signal: torch.Tensor) -> Called | None:
        weights = _own(given, "_parameters", _PARAMETERS, "weight", "bias")
        if weights is None or given["padding_mode"] != "zeros" or "_conv_forward" in given:
            return None
        if signal.ndim != weights[0].ndim:  # an image without a batch axis, which is refused
            return None
        geometry = (given["stride"], given["padding"], given["dilation"], given["groups"])
        return function, (signal, *weights, *geometry), _NONE

    return called


def _batch_norm(module: Any, given: Mapping[str, Any], signal: torch.Tensor) -> Called | None:
    weights = _own(given, "_parameters", _PARAMETERS, "weight", "bias")
    statistics = _own(given, "_buffers", _BUFFERS, "running_mean", "running_var")
    if weights is None or statistics is None or statistics[0] is None or given["training"]:
        return None
    module._check_input_dim(signal)
    named = {
        "weight": weights[0],
        "bias": weights[1],
        "training": False,
        "momentum": 0.0 if given["momentum"] is None else given["momentum"],
        "eps": given["eps"],
    }
    return functional.batch_norm, (signal, *statistics), named


def _relu(_: Any, given: Mapping[str, Any], signal: torch.Tensor) -> Called:
    return functional.relu, (signal,), {"inplace": given["inplace"]}


def _linear(_: Any, given: Mapping[str, Any], signal: torch.Tensor) -> Called | None:
    weights = _own(given, "_parameters", _PARAMETERS, "weight", "bias")
    return None if weights is None else (functional.linear, (signal, *weights), _NONE)


def _layer_norm(_: Any, given: Mapping[str, Any], signal: torch.Tensor) -> Called | None:
    weights = _own(given, "_parameters", _PARAMETERS, "weight", "bias")
    if weights is None:
        return None
    named = {"weight": weights[0], "bias": weights[1], "eps": given["eps"]}
    return functional.layer_norm, (signal, given["normalized_shape"]), named


def _gelu(_: Any, given: Mapping[str, Any], signal: torch.Tensor) -> Called:
    return functional.gelu, (signal,), {"approximate": given["approximate"]}


_CALLS: Mapping[type[nn.Module], Callable[[Any, Mapping[str, Any], torch.Tensor], Called | None]] = MappingProxyType(
    {
        nn.Conv1d: _convolution(functional.conv1d),
        nn.Conv2d: _convolution(functional.conv2d),
        nn.Conv3d: _convolution(functional.conv3d),
        nn.BatchNorm1d: _batch_norm,
        nn.BatchNorm2d: _batch_norm,
        nn.BatchNorm3d: _batch_norm,
        nn.ReLU: _relu,
        nn.Linear: _linear,
        nn.LayerNorm: _layer_norm,
        nn.GELU: _gelu,
    }
)
LEAVES = tuple(_CALLS)
"""The classes; a class derived from one of them is not meant."""

_STEPS = ("forward", "_conv_forward", "_check_input_dim", "__call__", "__getattr__")
_FUNCTIONS = ("conv1d", "conv2d", "conv3d", "batch_norm", "relu", "linear", "layer_norm", "gelu")


def _state() -> list[object]:
    """Everything that decides what the modules call, as it is now."""
    steps = [getattr(kind, name, None) for kind in LEAVES for name in _STEPS]
    return [*steps, *(getattr(functional, name) for name in _FUNCTIONS)]


_AS_SHIPPED = _state()
_ARE_ORIGINAL = all(
    step.__module__.startswith("torch.nn.") for kind in LEAVES for step in (kind.forward, nn.Module.__call__)
)


def called_by(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Called | None:
    """What a module of one of these classes will call; None where it has to be run to know.

    Parameters
    ----------
    module : nn.Module
        Of any class.
    args, kwargs
        As its caller gave them.
    """
    if kwargs or len(args) != 1 or type(args[0]) is not torch.Tensor:
        return None
    build = _CALLS.get(type(module))
    given = module.__dict__
    if build is None or "forward" in given or given.get("_compiled_call_impl") is not None:
        return None
    if given["_forward_hooks"] or given["_forward_pre_hooks"]:
        return None
    if given["_backward_hooks"] or given["_backward_pre_hooks"]:
        return None
    return build(module, given, args[0])


def others_listen() -> bool:
    """Whether somebody else has hooks around all modules, or a mode around all functions."""
    return (
        len(torch_module._global_forward_hooks) > 1
        or len(torch_module._global_forward_pre_hooks) > 1
        or bool(torch_module._global_backward_hooks)
        or bool(torch_module._global_backward_pre_hooks)
        or torch._C._len_torch_function_stack() != 1
    )


@contextmanager
def calls_of_leaves(run: Callable[..., Any]) -> Iterator[None]:
    """Let calls of these modules arrive at `run(module, *args, **kwargs)`, where nobody has changed what they do."""
    if not _ARE_ORIGINAL or any(now is not then for now, then in zip(_state(), _AS_SHIPPED, strict=True)):
        yield
        return

    def __call__(module: nn.Module, *args: Any, **kwargs: Any) -> Any:  # noqa: N807 - as a method of the class
        return run(module, *args, **kwargs)

    for kind in LEAVES:
        type.__setattr__(kind, "__call__", __call__)
    try:
        yield
    finally:
        for kind in LEAVES:
            if vars(kind).get("__call__") is __call__:
                type.__delattr__(kind, "__call__")
