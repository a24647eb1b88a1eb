"""Names in modules that are bound to functions to be replaced, as by ``from paddle.nn.functional import conv2d``."""

import os
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import is_
from types import ModuleType
from typing import Any


@dataclass(frozen=True, eq=False)
class Bindings:
    """Names of one module, the functions that they are bound to, and the wrappers of these, in one order.

    Parameters
    ----------
    module : module
        Which has the names.
    originals, wrappers : dict
        By name.
    """

    module: ModuleType
    originals: dict[str, Any]
    wrappers: dict[str, Any]

    def replace(self) -> None:
        """Bind each name to its wrapper, unless somebody has bound it to something else."""
        _rebind(vars(self.module), self.originals, self.wrappers)

    def restore(self) -> None:
        """Bind each name to its original, unless somebody has bound it to something else."""
        _rebind(vars(self.module), self.wrappers, self.originals)


def _rebind(table: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> None:
    if all(map(is_, map(table.get, old), old.values())):  # thousands of names at each explanation
        table.update(new)
    else:
        table.update({name: value for name, value in new.items() if table.get(name) is old[name]})


Wrappers = Mapping[int, Callable[..., Any]]
"""By the identity of the function that is wrapped."""


def bindings(module: ModuleType, wrappers: Wrappers) -> Bindings | None:
    """The names of a module that are bound to functions with a wrapper; None where there are none."""
    table = vars(module)
    if wrappers.keys().isdisjoint(map(id, list(table.values()))):
        return None
    originals = {name: value for name, value in list(table.items()) if id(value) in wrappers}
    return Bindings(module, originals, {name: wrappers[id(value)] for name, value in originals.items()})


class Search:
    """Finds bindings in all modules.

    Installed libraries bind their names while they are imported, and are looked at once. All other modules, such as
    ``__main__`` and the caller's own, may be run again or bind names at any time, and are looked at each time.

    Parameters
    ----------
    wrappers : mapping
        Of the functions to look for.
    may_hold : callable
        Whether to look into a module of this name.
    """

    def __init__(self, wrappers: Wrappers, may_hold: Callable[[str], bool]) -> None:
        self._wrappers = wrappers
        self._may_hold = may_hold
        self._loaded: tuple[int, str] | None = None
        self._libraries: dict[str, tuple[ModuleType, Bindings | None]] = {}
        self._in_libraries: list[Bindings] = []
        self._others: list[str] = []

    def find(self) -> list[Bindings]:
        """What there is now."""
        loaded = len(sys.modules), next(reversed(sys.modules))  # a module that is imported comes last
        if loaded != self._loaded:
            self._sort_modules()
            self._loaded = loaded
        others = [sys.modules.get(name) for name in self._others]
        found = [bindings(module, self._wrappers) for module in others if isinstance(module, ModuleType)]
        return self._in_libraries + [each for each in found if each is not None]

    def _sort_modules(self) -> None:
        """Look at new libraries, and list all other modules."""
        libraries: dict[str, tuple[ModuleType, Bindings | None]] = {}
        self._others = []
        for name, module in list(sys.modules.items()):
            if not isinstance(module, ModuleType) or not self._may_hold(name):
                continue
            if not _is_of_library(name, module):
                self._others.append(name)
                continue
            known = self._libraries.get(name)
            if known is None or known[0] is not module:
                known = module, bindings(module, self._wrappers)
            libraries[name] = known
        self._libraries = libraries
        self._in_libraries = [found for _, found in libraries.values() if found is not None]


_LIBRARIES = tuple({path + os.sep for path in map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))})


def _is_of_library(name: str, module: ModuleType) -> bool:
    """Whether a module, or the package that it is part of, lies where libraries are installed."""
    return any(_is_installed(each) for each in (module, sys.modules.get(name.partition(".")[0])))


def _is_installed(module: object) -> bool:
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    return isinstance(origin, str) and (origin in ("built-in", "frozen") or origin.startswith(_LIBRARIES))
