"""Names of methods and backends: built in, from installed packages, or registered by hand; loaded when used."""

import importlib
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from xai_med.errors import (
    MissingDependencyError,
    ModelError,
    RegistrationError,
    UnknownNameError,
    XaiMedError,
)
from xai_med.method import PROPERTIES, Method
from xai_med.methods.table import BUILT_IN, BUILT_IN_BACKENDS

if TYPE_CHECKING:
    from xai_med.backend.network import Backend
    from xai_med.method import Verification
    from xai_med.request import Attribution

METHODS, BACKENDS = "xai_med.methods", "xai_med.backends"


@dataclass(frozen=True)
class _Entry:
    """One name: who owns it, and how to get it."""

    owner: str
    load: Callable[[], Any]


_lock = threading.RLock()
_by_hand: dict[str, dict[str, _Entry]] = {METHODS: {}, BACKENDS: {}}
_loaded: dict[tuple[str, str], Any] = {}


def normalised(name: str) -> str:
    """Forgive hyphens, spaces and capitals: ``"Grad-CAM"`` is ``"grad_cam"``."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def register_method(
    name: str,
    *,
    source: str,
    cost: str = "",
    needs: str = "",
    default_target: str = "predicted",
    verification: "Verification | None" = None,
    cells_at_once: int | None = None,
    only_asks: bool = False,
    properties: Sequence[str] = (),
) -> "Callable[[Callable[..., Attribution]], Method]":
    """Make a function a method, under a name.

    Parameters
    ----------
    name : str
        New; letters, digits and underscores.
    source : str
        The paper and equation.
    cost, needs : str
        One line each for tables.
    default_target : str
        ``"predicted"`` or ``"all"``.
    verification : callable
        Independent checks for ``verify=True`` (see `Method`).
    cells_at_once : int
        Of methods that pull every class back to the input (see `Method`).
    only_asks : bool
        Of methods that need nothing but answers (see `Method`).
    properties : sequence of str
        Mathematical claims, of `xai_med.method.PROPERTIES`; `xai_med.testing.check_method` checks them.

    Raises
    ------
    RegistrationError
        The name is taken; both owners are named. Or a property is not one that can be claimed.
    """
    unknown = [claim for claim in properties if claim not in PROPERTIES]
    if unknown:
        raise RegistrationError(f"a method cannot claim {unknown[0]!r}; properties are {', '.join(PROPERTIES)}")

    def decorate(function: "Callable[..., Attribution]") -> Method:
        card = (source, cost, needs, default_target, verification, cells_at_once, only_asks, tuple(properties))
        method = Method(name, function, *card)
        _register(METHODS, name, method, owner=f"{function.__module__}:{function.__qualname__}")
        return method

    return decorate


def register_backend(name: str) -> "Callable[[Callable[[], Backend]], Callable[[], Backend]]":
    """Register a backend's factory under a name.

    Parameters
    ----------
    name : str
        New.

    Raises
    ------
    RegistrationError
        The name is taken; both owners are named.
    """

    def decorate(factory: "Callable[[], Backend]") -> "Callable[[], Backend]":
        owner = f"{factory.__module__}:{getattr(factory, '__qualname__', factory)}"
        _register(BACKENDS, name, factory, owner=owner)
        return factory

    return decorate


def unregister(group: str, name: str) -> None:
    """Forget a name that was registered by hand; for notebooks that define a method anew."""
    with _lock:
        _by_hand[group].pop(normalised(name), None)
        _loaded.pop((group, normalised(name)), None)


def methods() -> tuple[str, ...]:
    """Names of all methods, sorted; nothing is imported."""
    return tuple(sorted(_entries(METHODS)))


def backends() -> tuple[str, ...]:
    """Names of all backends, sorted; nothing is imported."""
    return tuple(sorted(_entries(BACKENDS)))


def owners(group: str) -> Mapping[str, str]:
    """Who owns each name of a group, as ``module:object``."""
    return {name: entry.owner for name, entry in sorted(_entries(group).items())}


def get_method(name: str) -> Method:
    """Load a method.

    Raises
    ------
    UnknownNameError
        No method of this name.
    RegistrationError
        What was registered cannot be loaded, or is not a method.
    """
    method = _get(METHODS, name, "method")
    if not isinstance(method, Method):
        raise RegistrationError(
            f"{name!r} is registered as a method, but {method!r} was not made by xai_med.register_method"
        )
    return method


def get_backend(name: str) -> "Backend":
    """Load a backend.

    Raises
    ------
    UnknownNameError
        No backend of this name.
    MissingDependencyError
        Its framework is not installed.
    RegistrationError
        What was registered cannot be loaded, or makes no backend.
    """
    factory = _get(BACKENDS, name, "backend")
    if not callable(factory):
        raise RegistrationError(f"{name!r} is registered as a backend, but {factory!r} cannot be called to make one")
    backend: Backend = factory()
    return backend


def find_backend(model: object) -> "Backend":
    """The backend that a model belongs to, found by its classes' modules before anything is imported.

    Raises
    ------
    ModelError
        No installed backend recognises the model.
    """
    for framework in ("torch", "paddle"):
        if type(sys.modules.get(framework)).__name__ == "ProxyModule":
            raise ModelError(
                f"the module {framework!r} is a stand-in made by another framework's compatibility mode; switch it off"
            )
    roots = {base.__module__.split(".")[0] for base in type(model).__mro__}
    for name in sorted(roots):
        with _lock:
            loaded = _loaded.get((BACKENDS, name))
        # looking through the installed packages takes longer than a small explanation
        if loaded is not None and get_backend(name).recognises(model):
            return get_backend(name)
    names = backends()
    for name in sorted(
        names, key=lambda name: (name in BUILT_IN_BACKENDS, name not in roots)
    ):  # any model can be called
        if name not in roots and name in ("torch", "paddle"):
            continue  # importing another framework cannot help
        backend = get_backend(name)
        if backend.recognises(model):
            return backend
    raise ModelError(
        f"no backend recognises a model of type {type(model).__module__}.{type(model).__qualname__}; "
        f"installed are {', '.join(names)}; give the framework's own module, or backend="
    )


def _register(group: str, name: str, value: Any, *, owner: str) -> None:
    key = normalised(name)
    if key != name or not key.isidentifier():
        raise RegistrationError(f"{name!r} is not a name; use lower-case letters, digits and underscores")
    with _lock:
        known = _entries(group).get(key)
        if known is not None and known.owner != owner:
            raise RegistrationError(f"{key!r} is already registered by {known.owner}; {owner} needs another name")
        if known is None:
            _by_hand[group][key] = _Entry(owner, lambda: value)
        elif key in _by_hand[group]:
            raise RegistrationError(f"{key!r} is already registered by {owner}; unregister it first")


def _entries(group: str) -> dict[str, _Entry]:
    from importlib.metadata import entry_points  # a quarter of the library's import time

    found: dict[str, _Entry] = {}
    for name, target in (BUILT_IN if group == METHODS else BUILT_IN_BACKENDS).items():
        found[name] = _Entry(target, lambda target=target: _load(target))  # type: ignore[misc]
    for point in entry_points(group=group):
        key = normalised(point.name)
        known = found.get(key)
        if known is not None and known.owner != point.value:
            raise RegistrationError(
                f"{key!r} is registered by both {known.owner} and {point.value}; uninstall one of the packages"
            )
        found[key] = _Entry(point.value, point.load)
    with _lock:
        for key, entry in _by_hand[group].items():
            found.setdefault(key, entry)
    return found


def _load(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _get(group: str, name: str, what: str) -> Any:
    if not isinstance(name, str):
        raise UnknownNameError(f"a {what} is named by a string, got {type(name).__name__}")
    key = normalised(name)
    with _lock:
        if (group, key) in _loaded:
            return _loaded[group, key]
    entries = _entries(group)
    if key not in entries:
        near = get_close_matches(key, entries, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(sorted(entries))}"
        raise UnknownNameError(f"there is no {what} {name!r}; {hint}")
    value = _loaded_from(entries[key], f"the {what} {key!r}")
    with _lock:
        _loaded[group, key] = value
    return value


def _loaded_from(entry: _Entry, what: str) -> Any:
    try:
        return entry.load()
    except XaiMedError:
        raise
    except ModuleNotFoundError as error:
        root = (error.name or "").split(".")[0]
        extra = f"; install it with: pip install 'xai-med[{root}]'" if root in ("torch", "paddle") else ""
        raise MissingDependencyError(
            f"{what} ({entry.owner}) needs {error.name}, which is not installed{extra}"
        ) from error
    except Exception as error:
        raise RegistrationError(
            f"{what} ({entry.owner}) cannot be loaded: {type(error).__name__}: {error}; update or uninstall its package"
        ) from error
