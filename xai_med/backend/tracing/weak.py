"""A map from native tensors to values that keeps no tensor alive and survives reused addresses."""

import weakref
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")
_SEQUENCES = (list, tuple)


class TensorMap(Generic[Value]):
    """Values by identity of a tensor.

    Parameters
    ----------
    forgets : bool
        Whether an entry goes when its tensor does, as values that are large must. Otherwise it stays, and is not
        found any more.
    """

    def __init__(self, *, forgets: bool = True) -> None:
        self._entries: dict[int, tuple[weakref.ref[Any], Value]] = {}
        self._forgets = forgets

    def get(self, tensor: object) -> Value | None:
        """Value of this very tensor, or None."""
        entry = self._entries.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def among(self, items: Iterable[object]) -> list[Value]:
        """Values of those items, also inside lists, that are tensors of this map, in order."""
        entries = self._entries
        found: list[Value] = []
        for item in items:
            entry = entries.get(id(item))
            if entry is not None and entry[0]() is item:
                found.append(entry[1])
            elif isinstance(item, _SEQUENCES):
                found += self.among(item)
        return found

    def set(self, tensor: Any, value: Value) -> None:
        """Remember `value` for as long as `tensor` lives."""
        self._entries[id(tensor)] = (self._forgetting(tensor) if self._forgets else weakref.ref(tensor), value)

    def _forgetting(self, tensor: Any) -> "weakref.ref[Any]":
        key = id(tensor)
        entries = self._entries

        def forget(reference: "weakref.ref[Any]") -> None:
            entry = entries.get(key)
            if entry is not None and entry[0] is reference:
                del entries[key]

        return weakref.ref(tensor, forget)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
