"""Sees every function, method and operator that a model calls, in the thread that explains."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from typing import Any

import torch
from torch._ops import OpOverload
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode

from xai_med.backend.framework import Observer
from xai_med.backend.operations import Call, Details, Kind
from xai_med_torch.arguments import flag, signature_of
from xai_med_torch.details import read
from xai_med_torch.expansions import FUSED, expansion
from xai_med_torch.hooks import HOOKING, attach
from xai_med_torch.leaves import called_by, calls_of_leaves, others_listen
from xai_med_torch.surroundings import model_context
from xai_med_torch.table import KINDS, SILENT


class _Described:
    """What the table says of one function object, found once."""

    __slots__ = ("has_inplace_flag", "is_fused", "is_silent", "kind", "name", "read", "writes_in_place")

    def __init__(self, function: Callable[..., Any]) -> None:
        if isinstance(function, OpOverload):  # as an exported program calls it: aten.mean.dim for torch.mean
            function = _under_its_name(function)
        name = getattr(function, "__name__", type(function).__name__)
        if name in ("__get__", "__set__", "__delete__"):  # an attribute, such as x.shape or x.T
            name = getattr(getattr(function, "__self__", None), "__name__", name)
            name = {"T": "permute_all", "mT": "transpose_last", "H": "permute_all"}.get(name, name)
        self.name = name
        self.is_silent = name in SILENT
        self.is_fused = name in FUSED
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
        signature = None if is_operator or self.is_silent else signature_of(function)
        self.has_inplace_flag = signature is not None and "inplace" in signature.parameters


def _under_its_name(overload: OpOverload) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return overload(*args, **kwargs)

    call.__name__ = overload._schema.name.partition("::")[2]
    return call


_describe = lru_cache(maxsize=4096)(_Described)


class Interception(TorchFunctionMode):
    """Reports calls to a tracer; each thread has its own."""

    def __init__(self, tracer: Observer) -> None:
        super().__init__()
        self._tracer = tracer
        self.has_hooks = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one call, through the tracer unless it only looks at a tensor."""
        described = _describe(func)
        kwargs = kwargs or {}
        if _active.tracer is None:  # the tracer's own operations
            return func(*args, **kwargs)
        if described.is_silent:
            if described.name not in HOOKING:
                return func(*args, **kwargs)
            self.has_hooks = True
            return attach(described.name, func, args, kwargs)
        if kwargs.get("out") is not None:
            return self._into(kwargs["out"], func, types, args, kwargs)
        return self.report(described, func, args, kwargs)

    def report(
        self,
        described: _Described,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        deferred: Callable[[], Details] | None = None,
    ) -> Any:
        """Run one call through the tracer."""
        context = model_context(args)
        if context is None:
            return self._report(described, func, args, kwargs, deferred)
        with context:
            return self._report(described, func, args, kwargs, deferred)

    def _report(
        self,
        described: _Described,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        deferred: Callable[[], Details] | None,
    ) -> Any:
        in_place = described.writes_in_place or (described.has_inplace_flag and flag("inplace", func, args, kwargs))
        if in_place and not args:  # the core looks for what is written in the first place
            first = next((name for name in ("input", "self") if name in kwargs), next(iter(kwargs)))
            args, kwargs = (kwargs[first],), {name: value for name, value in kwargs.items() if name != first}
        expand = self._expansion(described, args, kwargs) if described.is_fused else None
        return self._tracer.call(
            Call(described.kind, described.name, func, tuple(args), kwargs, in_place, described.read, expand, deferred)
        )

    def _into(
        self, out: Any, func: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Run a call with ``out=`` as a call and a copy, through which derivatives flow, unlike through ``out=``."""
        rest = {name: value for name, value in kwargs.items() if name != "out"}
        result = self.__torch_function__(func, types, args, rest)
        for target, value in zip(
            *((each if isinstance(each, tuple) else (each,)) for each in (out, result)), strict=True
        ):
            if target.shape != value.shape:
                self.__torch_function__(torch.Tensor.resize_, types, (target, value.shape))
            self.__torch_function__(torch.Tensor.copy_, types, (target, value))
        return type(result)(out) if isinstance(result, tuple) else out

    def _expansion(self, described: _Described, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Callable[[], Any]:
        """How to run a fused function as elementary operations, each of which is reported."""
        run = expansion(described.name, described.read.args[1], args, kwargs)

        def reported() -> Any:
            with self:
                return run()

        return reported


_DEFERRED = frozenset({Kind.CONVOLUTION, Kind.BATCH_NORM, Kind.LINEAR})
"""Kinds of the calls of modules with weights, of which nothing but their geometry could be refused."""


class _Active(threading.local):
    tracer: Observer | None = None
    interception: Interception | None = None


_active = _Active()
_lock = threading.Lock()
_users = 0
_handles: list[Any] = []
_shortcut = ExitStack()


def _run_leaf(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Run a module of PyTorch's own: as the call that it makes, where it is explained and that is known."""
    tracer, interception = _active.tracer, _active.interception
    if tracer is None or interception is None or others_listen():
        return torch.nn.Module.__call__(module, *args, **kwargs)
    with torch._C.DisableTorchFunction():
        called = called_by(module, args, kwargs)
        if called is not None:
            function, arguments, named = called
            described = _describe(function)
            deferred = None
            if described.kind in _DEFERRED and not any(map(tracer.depends_on_input, arguments[1:3])):
                # without the signal, which the record must not keep alive
                deferred = partial(described.read, (None, *arguments[1:]), named)
            tracer.enter_module(module)
            output = interception.report(described, function, arguments, named, deferred=deferred)
            return tracer.leave_module(module, output)
    return torch.nn.Module.__call__(module, *args, **kwargs)


def _before(module: torch.nn.Module, _: Any) -> None:
    tracer = _active.tracer
    if tracer is not None:
        tracer.enter_module(module)


def _after(module: torch.nn.Module, _: Any, output: Any) -> Any:
    tracer = _active.tracer
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
            _shortcut.enter_context(calls_of_leaves(_run_leaf))
        _users += 1
    previous = _active.tracer
    _active.tracer = tracer
    try:
        yield
    finally:
        _active.tracer = previous
        with _lock:
            _users -= 1
            if _users == 0:
                _shortcut.close()
                while _handles:
                    _handles.pop().remove()


@contextmanager
def intercepted(tracer: Observer) -> Iterator[Interception]:
    """Report every operation and module of this thread to `tracer`."""
    outer = _active.interception
    with module_events(tracer), Interception(tracer) as interception:
        _active.interception = interception
        try:
            yield interception
        finally:
            _active.interception = outer
