"""Hooks that a model attaches to its own tensors while it runs."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from xai_med.errors import GradientError

HOOKING = frozenset(("register_hook", "retain_grad", "grad_fn"))
"""Ways to act on gradients from inside a model."""


def attach(name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Attach a hook that only looks; nothing where an explanation records no gradient to look at.

    Parameters
    ----------
    name : str
        One of `HOOKING`.
    function : callable
        Of this name.
    args, kwargs
        As the model gave them: the tensor, then the hook.

    Raises
    ------
    GradientError
        The model reads the graph of derivatives, where it can change what nobody sees.
    """
    tensor, *hooks = args
    if name == "grad_fn":
        if tensor.grad_fn is not None:
            raise GradientError(
                "the model reads grad_fn of a tensor, by which gradients can be changed out of sight; use method='cam'"
            )
        return None
    if not tensor.requires_grad:
        return RemovableHandle(OrderedDict())
    named = {name: _only_looking(hook) for name, hook in kwargs.items()}
    return function(tensor, *map(_only_looking, hooks), **named)


def _only_looking(hook: Callable[[torch.Tensor], Any]) -> Callable[[torch.Tensor], None]:
    def looking(gradient: torch.Tensor) -> None:
        given = gradient.clone()
        answer = hook(gradient)
        if not torch.equal(given, gradient) or (answer is not None and not torch.equal(given, answer)):
            raise GradientError(
                "the model attaches a hook to a tensor that changes its gradient, so that what arrives is not the "
                "gradient; remove the hook, or use method='cam', which needs no gradients"
            )

    return looking
