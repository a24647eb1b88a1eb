"""Sees every operation that a Paddle model runs, in the thread that explains.

Paddle has nothing like PyTorch's function modes, so the choke points through which all operations go are replaced by
wrappers while anybody explains, and put back when the last one leaves. A wrapper passes straight through in threads
without a tracer, and inside an operation that is already reported: the outermost call wins.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import paddle
from paddle import _C_ops
from paddle.jit.dy2static.program_translator import StaticFunction

from xai_med.backend.framework import Observer
from xai_med.backend.operations import Call, Kind
from xai_med_paddle.aliases import MAY_SHARE, Aliases
from xai_med_paddle.arguments import bind, has_parameter
from xai_med_paddle.average_pool import exact_average_pool
from xai_med_paddle.choke_points import Wrap, install, uninstall
from xai_med_paddle.details import READ_KINDS, read, uses_running_statistics
from xai_med_paddle.hooks import attach
from xai_med_paddle.kinds import correction
from xai_med_paddle.table import EXPANDED, KINDS


class _Local(threading.local):
    tracer: Observer | None = None
    aliases: Aliases = Aliases()
    recomputations: int = 0


_local = _Local()
_lock = threading.RLock()
_users = 0


class _Described:
    """What the table says of one function."""

    __slots__ = (
        "base",
        "correct",
        "function",
        "has_inplace_flag",
        "is_expanded",
        "kind",
        "name",
        "read",
        "writes_in_place",
    )

    def __init__(self, name: str, function: Callable[..., Any], *, is_legacy: bool) -> None:
        self.name, self.function = name, function
        is_operator = name.startswith("__")
        self.base = name if is_operator else name.removesuffix("_")
        kind = KINDS.get(name) or KINDS.get(self.base, Kind.UNKNOWN)
        # legacy functions take attributes as pairs of name and value, which nobody reads here
        self.kind = Kind.UNKNOWN if is_legacy and kind in READ_KINDS else kind
        # a batch norm writes into its statistics, not into its signal
        self.writes_in_place = name == "_setitem_dygraph" or (self.base != name and self.kind is not Kind.BATCH_NORM)
        self.has_inplace_flag = has_parameter("inplace", function)
        self.is_expanded = self.base in EXPANDED
        self.correct = correction(self.kind, self.base, function)
        self.read = partial(read, self.kind, self.base, function)

    def call(self, tracer: Observer, run: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Report one call to the tracer, which runs it as `run`."""
        kind, reading, in_place = self.kind, self.read, self.writes_in_place
        if self.correct is not None:
            kind = self.correct(args, kwargs, tracer.depends_on_input)
            if kind is not self.kind:
                reading = partial(read, kind, self.base, self.function)
        if self.has_inplace_flag:
            in_place = in_place or bool(self.bind(args, kwargs)["inplace"])
        expand = partial(_inside, tracer, run, args, kwargs) if self.is_expanded else None
        call = Call(kind, self.name, run, args, kwargs, in_place, reading, expand)
        aliases = _local.aliases
        if aliases.are_spoiled:
            aliases.check(call)
        result = tracer.call(call)
        if in_place or kind in MAY_SHARE:
            aliases.note(call, result)
        return result

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by parameter name."""
        return bind(self.base, self.function, args, kwargs)


def _inside(tracer: Observer, run: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Run a function written in Python and report the operations that it calls."""
    _local.tracer = tracer
    try:
        return run(*args, **kwargs)
    finally:
        _local.tracer = None


def _report_batch_norm(described: _Described, tracer: Observer, args: Any, kwargs: Any) -> Any:
    """Paddle's batch norm returns its statistics as well, which are of no use to the tracer."""
    extras: tuple[Any, ...] = ()

    def normalise(*given: Any, **named: Any) -> Any:
        nonlocal extras
        result, *extras = described.function(*given, **named)
        return result

    def normalise_apart(*given: Any, **named: Any) -> Any:
        # the running statistics would be updated, and an explanation changes nothing of the caller's
        return normalise(given[0], given[1].clone(), given[2].clone(), *given[3:], **named)

    keeps_statistics = uses_running_statistics(described.base, described.function, args, kwargs)
    result = described.call(tracer, normalise if keeps_statistics else normalise_apart, args, kwargs)
    return (result, *extras)


def _report_assign_out(described: _Described, tracer: Observer, args: Any, kwargs: Any) -> Any:
    """``assign_out_(value, target)`` writes into its second argument; the core expects that of the first."""

    def assign(target: Any, value: Any) -> Any:
        return described.function(value, target)

    value, target = args
    return described.call(tracer, assign, (target, value), kwargs)


def _report_average_pool(described: _Described, tracer: Observer, args: Any, kwargs: Any) -> Any:
    """Paddle's average pools have derivatives of float32 accuracy."""

    def pool(*given: Any, **named: Any) -> Any:
        by_name = described.bind(given, named)
        return exact_average_pool(described.function, by_name, int(described.name[-2]), *given, **named)

    return described.call(tracer, pool, args, kwargs)


def _report_addmm(described: _Described, tracer: Observer, args: Any, kwargs: Any) -> Any:
    """Paddle's derivative of ``addmm`` ends the process by a segmentation fault where the summand has one axis."""

    def add(summand: Any, *given: Any, **named: Any) -> Any:
        return described.function(summand.unsqueeze(0) if summand.ndim == 1 else summand, *given, **named)

    return described.call(tracer, add, args, kwargs)


_SPECIAL = {
    "batch_norm": _report_batch_norm,
    "sync_batch_norm": _report_batch_norm,
    "assign_out": _report_assign_out,
    "addmm": _report_addmm,
    **{f"{pool}{space}d": _report_average_pool for pool in ("avg_pool", "adaptive_avg_pool") for space in (1, 2, 3)},
}


def _wrap_function(name: str, function: Callable[..., Any], *, is_legacy: bool) -> Callable[..., Any]:
    described = _Described(name, function, is_legacy=is_legacy)
    report = None if is_legacy else _SPECIAL.get(described.base)
    call = described.call

    def reported(*args: Any, **kwargs: Any) -> Any:
        tracer = _local.tracer
        if tracer is None:
            return function(*args, **kwargs)
        if kwargs and kwargs.get("out") is not None:
            return _into(kwargs["out"], reported(*args, **{**kwargs, "out": None}))
        _local.tracer = None
        try:
            if report is not None:
                return report(described, tracer, args, kwargs)
            return call(tracer, function, args, kwargs)
        finally:
            _local.tracer = tracer

    return reported


def _into(out: Any, result: Any) -> Any:
    """Write a result into ``out=`` by a copy, through which derivatives flow, unlike through ``out=``."""
    for target, value in zip(
        *(each if isinstance(each, list | tuple) else (each,) for each in (out, result)), strict=True
    ):
        _C_ops.assign_out_(value, target)
    return out


def _wrap_hook(original: Callable[..., Any]) -> Callable[..., Any]:
    def reported(tensor: Any, hook: Callable[..., Any]) -> Any:
        return original(tensor, hook) if _local.tracer is None else attach(original, tensor, hook)

    return reported


def _wrap_static(original: Callable[..., Any]) -> Callable[..., Any]:
    def reported(compiled: Any, *args: Any, **kwargs: Any) -> Any:
        if _local.tracer is None:
            return original(compiled, *args, **kwargs)
        return compiled._call_dygraph_function(*args, **kwargs)  # as it was written, where it can be seen

    return reported


def _wrap_saving(step: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def reported(*args: Any) -> Any:
            _local.recomputations += step
            return original(*args)

        return reported

    return wrap


def is_recomputing() -> bool:
    """Whether a context in this thread saves something else than tensors for derivatives, as recomputation does."""
    return _local.recomputations > 0


def _wrap_layer_call(original: Callable[..., Any]) -> Callable[..., Any]:
    def reported(self: Any, *inputs: Any, **kwargs: Any) -> Any:
        tracer = _local.tracer
        if tracer is None:
            return original(self, *inputs, **kwargs)
        tracer.enter_module(self)
        output = original(self, *inputs, **kwargs)
        _local.tracer = None
        try:
            return tracer.leave_module(self, output)
        finally:
            _local.tracer = tracer

    return reported


_WRAP = Wrap(
    function=_wrap_function,
    methods=(
        (paddle.nn.Layer, "__call__", _wrap_layer_call),
        (paddle.Tensor, "register_hook", _wrap_hook),
        (StaticFunction, "__call__", _wrap_static),
        (paddle.autograd.saved_tensors_hooks, "__enter__", _wrap_saving(+1)),
        (paddle.autograd.saved_tensors_hooks, "__exit__", _wrap_saving(-1)),
    ),
)


@contextmanager
def intercepted(tracer: Observer) -> Iterator[None]:
    """Report every operation and module of this thread to `tracer`."""
    global _users  # threads that need the process-wide wrappers
    with _lock:
        if _users == 0:
            install(_WRAP)
        _users += 1
    previous = _local.tracer, _local.aliases, _local.recomputations
    _local.tracer, _local.aliases, _local.recomputations = tracer, Aliases(), 0
    try:
        yield
    finally:
        _local.tracer, _local.aliases, _local.recomputations = previous
        with _lock:
            _users -= 1
            if _users == 0:
                uninstall()
