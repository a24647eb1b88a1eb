"""A map from native tensors to values that keeps no tensor alive and survives reused addresses."""

import weakref
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class TensorMap(Generic[Value]):
    """Values by identity of a tensor; an entry goes when its tensor does."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Any], Value]] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def get(self, tensor: object) -> Value | None:
        """Value of this very tensor, or None."""
        entry = self._entries.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def set(self, tensor: Any, value: Value) -> None:
        """Remember `value` for as long as `tensor` lives."""
        key = id(tensor)
        entries = self._entries

        def forget(reference: "weakref.ref[Any]") -> None:
            entry = entries.get(key)
            if entry is not None and entry[0] is reference:
                del entries[key]

        entries[key] = (weakref.ref(tensor, forget), value)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
