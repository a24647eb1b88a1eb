"""The places in PaddlePaddle through which all operations go, and how they are replaced and put back."""

from collections.abc import Callable
from dataclasses import dataclass
from types import BuiltinFunctionType, ModuleType
from typing import Any, Protocol

import paddle
from paddle import _C_ops, _legacy_C_ops
from paddle.nn import functional

from xai_med_paddle.bindings import Bindings, Search
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
    """One attribute of a class that is replaced."""

    owner: type
    name: str
    original: Any
    wrapper: Any


@dataclass(frozen=True, eq=False)
class _Points:
    """All that is replaced, but for the aliases of it.

    Parameters
    ----------
    functions : tuple of Bindings
        The C++ functions, in their own modules.
    sizes : tuple of int
        Number of names that those modules had.
    passed_over : tuple of dict
        Names in those modules that somebody had bound to something else than a C++ function.
    composites : dict
        Functions written in Python, by name; only their aliases are replaced.
    slots : tuple of _Slot
        Attributes of classes.
    aliases : Search
        For names that are bound to functions or composites.
    wrappers : dict
        Of all, by the identity of what is wrapped.
    """

    functions: tuple[Bindings, ...]
    sizes: tuple[int, ...]
    passed_over: tuple[dict[str, Any], ...]
    composites: dict[str, Any]
    slots: tuple[_Slot, ...]
    aliases: Search
    wrappers: dict[int, Any]

    def are_current(self) -> bool:
        """Whether these are still all: nobody has added a function, or put something else in the place of one."""
        return (
            self.sizes == tuple(len(vars(each.module)) for each in self.functions)
            and all(map(_are_bound, self.functions, self.passed_over))
            and all(_composite(name) is function for name, function in self.composites.items())
            and all(vars(slot.owner).get(slot.name) is slot.original for slot in self.slots)
        )


_points: _Points | None = None
_latest: list[Bindings] = []  # as `install` found them
_bound: list[Bindings] = []
_set: list[_Slot] = []


def install(wrap: Wrap) -> None:
    """Replace every choke point; the caller holds the lock."""
    global _points  # found once, as they are many
    if _points is None or not _points.are_current():
        _points = _find(wrap, _points)
    _latest[:] = (*_points.functions, *_points.aliases.find())
    try:
        for each in _latest:
            _bound.append(each)
            each.replace()
        for slot in _points.slots:
            _set.append(slot)
            setattr(slot.owner, slot.name, slot.wrapper)
    except BaseException:
        uninstall()
        raise


def uninstall() -> None:
    """Put everything back that still is as `install` left it; the caller holds the lock."""
    while _bound:
        _bound.pop().restore()
    while _set:
        slot = _set.pop()
        if vars(slot.owner).get(slot.name) is slot.wrapper:
            setattr(slot.owner, slot.name, slot.original)


def choke_points() -> list[tuple[Any, str]]:
    """Owner and name of each attribute that was replaced when somebody last explained."""
    slots = () if _points is None else _points.slots
    names = [(each.module, name) for each in _latest for name in each.originals]
    return names + [(slot.owner, slot.name) for slot in slots]


def _find(wrap: Wrap, before: _Points | None) -> _Points:
    """Find all that is to be replaced; what was found before keeps its wrapper."""
    known = {} if before is None else before.wrappers

    def wrapper(name: str, function: Any, *, is_legacy: bool = False) -> Any:
        return known.get(id(function)) or wrap.function(name, function, is_legacy=is_legacy)

    tables = []
    for module in (_C_ops, _legacy_C_ops):
        is_legacy = module is _legacy_C_ops
        originals = {name: value for name, value in vars(module).items() if _computes(name, value)}
        wrappers = {name: wrapper(name, value, is_legacy=is_legacy) for name, value in originals.items()}
        tables.append(Bindings(module, originals, wrappers))
    composites = {name: _composite(name) for name in COMPOSITES}
    by_identity = {
        **{id(table.originals[name]): each for table in tables for name, each in table.wrappers.items()},
        **{id(function): wrapper(name, function) for name, function in composites.items()},
    }
    methods = {name: vars(paddle.Tensor)[name] for name in METHODS}
    slots = [_Slot(paddle.Tensor, name, method, wrapper(name, method)) for name, method in methods.items()]
    for owner, name, wrapped in wrap.methods:
        original = vars(owner)[name]
        slots.append(_Slot(owner, name, original, known.get(id(original)) or wrapped(original)))
    data = vars(paddle.Tensor)["data"]
    slots.append(_Slot(paddle.Tensor, "data", data, known.get(id(data)) or _readable(data, wrap)))
    return _Points(
        functions=tuple(tables),
        sizes=tuple(len(vars(table.module)) for table in tables),
        passed_over=tuple(_passed_over(table.module) for table in tables),
        composites=composites,
        slots=tuple(slots),
        aliases=Search(by_identity, _may_hold_aliases),
        wrappers=by_identity | {id(slot.original): slot.wrapper for slot in slots},
    )


def _passed_over(module: ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not isinstance(value, BuiltinFunctionType)}


def _are_bound(table: Bindings, values: dict[str, Any]) -> bool:
    held = vars(table.module)
    return all(held.get(name) is value for name, value in values.items())


def _readable(attribute: Any, wrap: Wrap) -> Any:
    """An attribute of tensors whose reading is reported."""
    read = wrap.function("data", attribute.__get__, is_legacy=False)
    return property(lambda tensor: read(tensor), attribute.__set__)


def _computes(name: str, value: object) -> bool:
    is_function = isinstance(value, BuiltinFunctionType)
    return is_function and not name.startswith("_") and name not in SILENT and "_grad" not in name


def _composite(name: str) -> Any:
    return getattr(functional, name, None) or getattr(functional.conv, name)


def _may_hold_aliases(module_name: str) -> bool:
    if module_name.startswith("xai_med"):
        return False
    is_binding = "libpaddle" in module_name or module_name.startswith("paddle.base.core")
    return not is_binding and module_name not in ("paddle._C_ops", "paddle._legacy_C_ops", "paddle._pir_ops")
