"""The places in PaddlePaddle through which all operations go, and how they are replaced and put back."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import BuiltinFunctionType, ModuleType
from typing import Any, Protocol

import paddle
from paddle import _C_ops, _legacy_C_ops
from paddle.nn import functional

from xai_med_paddle.table import COMPOSITES, METHODS, SILENT


class FunctionWrapper(Protocol):
    """Makes a wrapper of a function."""

    def __call__(self, name: str, function: Callable[..., Any], *, is_legacy: bool) -> Callable[..., Any]:
        """Return the wrapper of a function of this name."""
        ...


@dataclass(frozen=True)
class Wrap:
    """How to wrap functions that compute, and other methods: class, name, and what makes the wrapper."""

    function: FunctionWrapper
    methods: tuple[tuple[type, str, Callable[[Callable[..., Any]], Callable[..., Any]]], ...]


@dataclass(frozen=True, eq=False)
class _Slot:
    """One attribute that is replaced."""

    owner: Any
    name: str
    original: Any
    wrapper: Any


_slots: list[_Slot] = []
_scanned = 0  # number of modules that were loaded when the slots were found
_installed: list[_Slot] = []


def install(wrap: Wrap) -> None:
    """Replace every choke point; the caller holds the lock."""
    global _scanned  # the slots are found once, and again when modules were imported since
    if _scanned != len(sys.modules):
        _slots[:] = _find(wrap, known={id(slot.original): slot.wrapper for slot in _slots})
        _scanned = len(sys.modules)
    try:
        for slot in _slots:
            if vars(slot.owner).get(slot.name) is slot.original:  # else somebody has put something else there
                _installed.append(slot)
                setattr(slot.owner, slot.name, slot.wrapper)
    except BaseException:
        uninstall()
        raise


def uninstall() -> None:
    """Put everything back that still is as `install` left it; the caller holds the lock."""
    while _installed:
        slot = _installed.pop()
        if vars(slot.owner).get(slot.name) is slot.wrapper:
            setattr(slot.owner, slot.name, slot.original)


def choke_points() -> list[tuple[Any, str]]:
    """Owner and name of each attribute that was replaced when somebody last explained."""
    return [(slot.owner, slot.name) for slot in _slots]


def _find(wrap: Wrap, known: dict[int, Callable[..., Any]]) -> list[_Slot]:
    wrappers: dict[int, Callable[..., Any]] = {}
    slots = []
    for owner in (_C_ops, _legacy_C_ops):
        for name, function in vars(owner).items():
            if isinstance(function, BuiltinFunctionType) and _computes(name):
                wrapper = known.get(id(function)) or wrap.function(name, function, is_legacy=owner is _legacy_C_ops)
                wrappers[id(function)] = wrapper
                slots.append(_Slot(owner, name, function, wrapper))
    for name in COMPOSITES:
        function = getattr(functional, name, None) or getattr(functional.conv, name)
        wrappers[id(function)] = known.get(id(function)) or wrap.function(name, function, is_legacy=False)
    for name in METHODS:
        function = vars(paddle.Tensor)[name]
        wrapper = known.get(id(function)) or wrap.function(name, function, is_legacy=False)
        slots.append(_Slot(paddle.Tensor, name, function, wrapper))
    for owner, name, wrapped in wrap.methods:
        original = vars(owner)[name]
        slots.append(_Slot(owner, name, original, known.get(id(original)) or wrapped(original)))
    data = vars(paddle.Tensor)["data"]
    slots.append(_Slot(paddle.Tensor, "data", data, known.get(id(data)) or _readable(data, wrap)))
    return slots + _aliases(wrappers)


def _readable(attribute: Any, wrap: Wrap) -> Any:
    """An attribute of tensors whose reading is reported."""
    read = wrap.function("data", attribute.__get__, is_legacy=False)
    return property(lambda tensor: read(tensor), attribute.__set__)


def _computes(name: str) -> bool:
    return not name.startswith("_") and name not in SILENT and "_grad" not in name


def _aliases(wrappers: dict[int, Callable[..., Any]]) -> list[_Slot]:
    """Names in any module that are bound to a choke point, as by ``from paddle.nn.functional import conv2d``."""
    return [
        _Slot(module, name, value, wrappers[id(value)])
        for module_name, module in list(sys.modules.items())
        if isinstance(module, ModuleType) and _may_hold_aliases(module_name)
        for name, value in list(vars(module).items())
        if id(value) in wrappers
    ]


def _may_hold_aliases(module_name: str) -> bool:
    if module_name.startswith("xai_med"):
        return False
    is_binding = "libpaddle" in module_name or module_name.startswith("paddle.base.core")
    return not is_binding and module_name not in ("paddle._C_ops", "paddle._legacy_C_ops", "paddle._pir_ops")
