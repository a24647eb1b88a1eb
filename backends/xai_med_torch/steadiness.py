"""What is harmless in PyTorch: modules of its own that do the same each time, and functions that draw no numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from xai_med.backend.tracing.blocks import Blocks
from xai_med_torch.leaves import LEAVES

_LEAVES: frozenset[type[nn.Module]] = frozenset(
    (
        *LEAVES,
        *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
        *(nn.Identity, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Dropout, nn.Dropout2d),
    )
)
_FORWARD = {kind: kind.forward for kind in _LEAVES}
_ITERATION = (nn.Sequential.__iter__, nn.ModuleList.__iter__)
_ITEMS = nn.ModuleDict.items


class TorchVocabulary:
    """`Vocabulary` for PyTorch."""

    functions: frozenset[Callable[..., Any]] = frozenset(
        (torch.cat, torch.add, torch.relu, functional.relu, functional.avg_pool2d)
    )

    def is_module(self, value: object) -> bool:
        """Whether a value is a ``torch.nn.Module``."""
        return isinstance(value, nn.Module)

    def is_leaf(self, module: Any) -> bool:
        """Whether a module is one of the table, as PyTorch ships it, in evaluation mode."""
        kind = type(module)
        if kind not in _LEAVES or kind.forward is not _FORWARD[kind]:
            return False
        if getattr(module, "return_indices", False):
            return False
        statistics = getattr(module, "running_mean", module)
        return statistics is not None

    def is_unchanged(self, module: Any) -> bool:
        """Whether a module has no hooks and no forward of its own, and is in evaluation mode."""
        given = module.__dict__
        return not (
            given["training"]
            or given["_forward_hooks"]
            or given["_forward_pre_hooks"]
            or given["_backward_hooks"]
            or given["_backward_pre_hooks"]
            or "forward" in given
            or given.get("_compiled_call_impl") is not None
        )

    def state(self, module: Any) -> Sequence[Any] | None:
        """Attributes, parameters, buffers and parts; None where an attribute may hold the module itself alive."""
        given = module.__dict__
        if any(isinstance(value, nn.Module) or hasattr(value, "__self__") for value in given.values()):
            return None
        tables = given["_parameters"], given["_buffers"], given["_modules"]
        return [*given.values(), *(value for table in tables for value in table.values())]

    def is_tensor_class(self, value: object) -> bool:
        """Whether a value is ``torch.Tensor``."""
        return value is torch.Tensor

    def parts(self, container: Any, method: str) -> Sequence[Any] | None:
        """Of the containers of `torch.nn`."""
        kind = type(container)
        if method == "__iter__" and getattr(kind, "__iter__", None) in _ITERATION:
            return list(container)
        if method == "items" and getattr(kind, "items", None) is _ITEMS:
            return [list(pair) for pair in container.items()]
        return None


BLOCKS = Blocks(TorchVocabulary())
"""For all models of this process; forgets a model when nobody holds it."""
