"""What surrounds an explanation and is kept out of it: autocast, inference mode, compilers, backward hooks."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

_DEVICES = ("cpu", "cuda")


@contextmanager
def no_autocast() -> Iterator[None]:
    """Full precision, whatever autocast surrounds it; restored on exit."""
    devices = [name for name in _DEVICES if torch.is_autocast_enabled(name)]
    if not devices:
        yield
    elif len(devices) == 1:
        with torch.autocast(devices[0], enabled=False):
            yield
    else:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield


@contextmanager
def no_inference_mode() -> Iterator[None]:
    """No gradients, but tensors that a later computation with gradients may use."""
    with torch.inference_mode(False), torch.no_grad():  # leaving inference mode alone would enable gradients
        yield


@contextmanager
def _both(first: AbstractContextManager[None], second: AbstractContextManager[None]) -> Iterator[None]:
    with first, second:
        yield


def model_context(args: tuple[Any, ...]) -> AbstractContextManager[None] | None:
    """How to run one call of a model that has entered autocast or inference mode itself; None where it has not.

    Autocast is left where the call's own tensors differ in dtype and need it.
    """
    is_cast = torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
    is_inference = torch.is_inference_mode_enabled()
    is_cast = is_cast and len(_floating_dtypes(args)) < 2
    if not (is_cast or is_inference):
        return None
    return _both(
        no_autocast() if is_cast else nullcontext(),
        no_inference_mode() if is_inference else nullcontext(),
    )


def _floating_dtypes(args: tuple[Any, ...]) -> set[torch.dtype]:
    return {
        item.dtype
        for value in args
        for item in (value if isinstance(value, list | tuple) else (value,))
        if isinstance(item, torch.Tensor) and item.is_floating_point()
    }


# ---- for as long as anybody explains

_lock = threading.Lock()
_users = 0
_restore: list[Callable[[], Any]] = []
_quiet = threading.local()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Run compiled parts eagerly, so that they can be seen, and do not call the backward hooks of modules.

    The pullbacks of an explanation are not the caller's backward pass: hooks that record or change its gradients
    would see, or spoil, ours. Other threads keep their hooks; their compiled functions run eagerly meanwhile.
    """
    global _users
    with _lock:
        if _users == 0:
            _install()
        _users += 1
    was_quiet = getattr(_quiet, "on", False)
    _quiet.on = True
    try:
        yield
    finally:
        _quiet.on = was_quiet
        with _lock:
            _users -= 1
            if _users == 0:
                while _restore:
                    _restore.pop()()


def _install() -> None:
    for name, nothing in (("_get_backward_hooks", ([], [])), ("_get_backward_pre_hooks", [])):
        original = vars(nn.Module)[name]
        setattr(nn.Module, name, _unless_quiet(original, nothing))
        _restore.append(partial(setattr, nn.Module, name, original))
    if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):  # it takes a second to import
        stance = torch.compiler.set_stance("force_eager")
        stance.__enter__()
        _restore.append(partial(stance.__exit__, None, None, None))


def _unless_quiet(original: Callable[..., Any], nothing: Any) -> Callable[..., Any]:
    def hooks(module: nn.Module) -> Any:
        return nothing if getattr(_quiet, "on", False) else original(module)

    return hooks
