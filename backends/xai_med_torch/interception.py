"""Sees every function, method and operator that a model calls, in the thread that explains."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

import torch
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode

from xai_med.backend.framework import Observer
from xai_med.backend.operations import Call, Kind
from xai_med_torch.details import _signature, read
from xai_med_torch.table import KINDS, SILENT


class _Described:
    """What the table says of one function object, found once."""

    __slots__ = ("has_inplace_flag", "is_silent", "kind", "name", "read", "writes_in_place")

    def __init__(self, function: Callable[..., Any]) -> None:
        name = getattr(function, "__name__", type(function).__name__)
        if name in ("__get__", "__set__", "__delete__"):  # an attribute, such as x.shape or x.T
            name = getattr(getattr(function, "__self__", None), "__name__", name)
            name = {"T": "permute_all", "mT": "transpose_last", "H": "permute_all"}.get(name, name)
        self.name = name
        self.is_silent = name in SILENT
        is_operator = name.startswith("__")
        self.writes_in_place = (name.endswith("_") and not is_operator) or name in (
            "__iadd__",
            "__isub__",
            "__imul__",
            "__itruediv__",
            "__setitem__",
        )
        self.kind = KINDS.get(name) or KINDS.get(name.removesuffix("_"), Kind.UNKNOWN)
        self.read = partial(read, self.kind, function)
        signature = None if is_operator or self.is_silent else _signature(function)
        self.has_inplace_flag = signature is not None and "inplace" in signature.parameters


_describe = lru_cache(maxsize=4096)(_Described)


class Interception(TorchFunctionMode):
    """Reports calls to a tracer; each thread has its own."""

    def __init__(self, tracer: Observer) -> None:
        super().__init__()
        self._tracer = tracer

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one call, through the tracer unless it only looks at a tensor."""
        described = _describe(func)
        kwargs = kwargs or {}
        if described.is_silent or getattr(_active, "tracer", None) is None:  # the tracer's own operations
            return func(*args, **kwargs)
        return self._tracer.call(
            Call(
                kind=described.kind,
                name=described.name,
                function=func,
                args=tuple(args),
                kwargs=kwargs,
                writes_in_place=described.writes_in_place
                or (described.has_inplace_flag and _inplace(func, args, kwargs)),
                read=described.read,
            )
        )


def _inplace(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    if "inplace" in kwargs:
        return bool(kwargs["inplace"])
    signature = _signature(function)
    return bool(signature is not None and signature.bind(*args, **kwargs).arguments.get("inplace", False))


_active = threading.local()
_lock = threading.Lock()
_users = 0
_handles: list[Any] = []


def _before(module: torch.nn.Module, _: Any) -> None:
    tracer = getattr(_active, "tracer", None)
    if tracer is not None:
        tracer.enter_module(module)


def _after(module: torch.nn.Module, _: Any, output: Any) -> Any:
    tracer = getattr(_active, "tracer", None)
    if tracer is None:
        return None
    _active.tracer = None
    try:
        handed = tracer.leave_module(module, output)
    finally:
        _active.tracer = tracer
    return None if handed is output else handed


@contextmanager
def module_events(tracer: Observer) -> Iterator[None]:
    """Report when modules begin and end in this thread; nothing is attached to the caller's modules."""
    global _users
    with _lock:
        if _users == 0:
            _handles.append(torch_module.register_module_forward_pre_hook(_before))
            _handles.append(torch_module.register_module_forward_hook(_after))
        _users += 1
    previous = getattr(_active, "tracer", None)
    _active.tracer = tracer
    try:
        yield
    finally:
        _active.tracer = previous
        with _lock:
            _users -= 1
            if _users == 0:
                while _handles:
                    _handles.pop().remove()


@contextmanager
def intercepted(tracer: Observer) -> Iterator[None]:
    """Report every operation and module of this thread to `tracer`."""
    with module_events(tracer), Interception(tracer):
        yield
