"""Whether named arrays are exactly the state of a model: all of it, nothing else, and no value changed on the way."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import FileFormatError

_SHOWN = 8
_VARIANCES = (".running_var", "._variance")  # as PyTorch and Paddle name them
_GROUPS: Mapping[str, str] = MappingProxyType({"f": "floating", "i": "integer", "u": "integer", "b": "boolean"})
_LOADED: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("float16", "bfloat16", "float32", "float64"), "floating")
    | dict.fromkeys(("uint8", "int8", "int16", "int32", "int64"), "integer")
    | {"bool": "boolean"}
)


@dataclass(frozen=True)
class Slot:
    """Where a model keeps one array of its state.

    Parameters
    ----------
    shape : tuple of int
    dtype : str or None
        As ``"float32"`` or ``"bfloat16"``; None takes any floating one.
    memory : hashable, optional
        The same for slots that share their memory, such as tied weights.
    is_optional : bool
        Whether evaluation never reads it, so that a file may leave it out.
    """

    shape: tuple[int, ...]
    dtype: str | None = None
    memory: Hashable = None
    is_optional: bool = False


def check_state(slots: Mapping[str, Slot], arrays: Mapping[str, Array], *, model: str) -> None:
    """Refuse arrays that are not the model's state.

    Parameters
    ----------
    slots : mapping of str to Slot
        All of the model's.
    arrays : mapping of str to ndarray
        To be loaded.
    model : str
        What to call the model in the message.

    Raises
    ------
    FileFormatError
        Arrays are missing or unexpected; have another shape or another kind of number; hold NaN, infinity or negative
        variances; would be rounded; or two of them belong in the same memory and differ. The message names them.
    """
    faults = [*_names(slots, arrays)]
    for name in slots.keys() & arrays.keys():
        faults += _values(name, slots[name], arrays[name])
    if not faults:
        faults += _tied(slots, arrays)
    if faults:
        listed = "; ".join(sorted(faults)[:_SHOWN])
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise FileFormatError(f"the weights do not fit {model}: {listed}{more}{_hint(slots, arrays)}")


def _names(slots: Mapping[str, Slot], arrays: Mapping[str, Array]) -> list[str]:
    given = {slots[name].memory for name in slots.keys() & arrays.keys()} - {None}
    missing = [
        name for name, slot in slots.items() if name not in arrays and not slot.is_optional and slot.memory not in given
    ]
    return [f"{name} is missing" for name in missing] + [
        f"{_short(name)} is unexpected" for name in arrays if name not in slots
    ]


def _values(name: str, slot: Slot, array: Array) -> Iterable[str]:
    group = _GROUPS.get(array.dtype.kind, "")
    expected = "floating" if slot.dtype is None else _LOADED.get(slot.dtype, "")
    if array.shape != slot.shape:
        yield f"{name} has shape {array.shape} instead of {slot.shape}"
    elif not expected:
        yield f"{name} is {slot.dtype} in the model, which cannot be loaded"
    elif group != expected:
        yield f"{name} is {array.dtype}, not {expected}"
    elif group == "floating" and not np.isfinite(array).all():
        yield f"{name} holds NaN or infinity"
    elif name.endswith(_VARIANCES) and (array < 0).any():
        yield f"{name} holds negative variances"
    elif slot.dtype is not None and not _is_exact(array, slot.dtype):
        yield f"{name} is {array.dtype} and would be rounded to {slot.dtype}; load it into a model of a wider dtype"


def _is_exact(array: Array, dtype: str) -> bool:
    """Whether every value exists in another dtype."""
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = array.astype("float32" if dtype == "bfloat16" else dtype)
        is_same = bool(np.array_equal(narrow.astype(array.dtype), array))
    # the upper half of a float32
    return is_same and not (dtype == "bfloat16" and bool((narrow.view(np.uint32) & 0xFFFF).any()))


def _tied(slots: Mapping[str, Slot], arrays: Mapping[str, Array]) -> Iterable[str]:
    first: dict[Hashable, str] = {}
    for name in slots.keys() & arrays.keys():
        memory = slots[name].memory
        if memory is None:
            continue
        other = first.setdefault(memory, name)
        if other != name and not np.array_equal(arrays[other], arrays[name]):
            yield f"{min(name, other)} and {max(name, other)} are one array in the model and differ"


def _hint(slots: Mapping[str, Slot], arrays: Mapping[str, Array]) -> str:
    """What to do about names that differ by a common beginning."""
    required = {name for name, slot in slots.items() if not slot.is_optional}
    prefix = _common_beginning(list(arrays), required, set(slots))
    if prefix:
        return f". All names in the file begin with {prefix!r}; give strip_prefix={prefix!r}"
    prefix = _common_beginning(list(slots), set(), set(arrays))
    if prefix:
        return f". All names of the model begin with {prefix!r}; load the weights into the module inside of the wrapper"
    return ""


def _common_beginning(longer: list[str], required: set[str], allowed: set[str]) -> str:
    """What all longer names begin with, if the rest are the other names; empty otherwise."""
    if not allowed or len(longer) > len(allowed):
        return ""
    known = max(required or allowed, key=len)
    for name in longer:
        prefix = name.removesuffix(known)
        if prefix != name and prefix.endswith("."):
            rest = {other.removeprefix(prefix) for other in longer if other.startswith(prefix)}
            if len(rest) == len(longer) and required <= rest <= allowed:
                return prefix
    return ""


def _short(name: str) -> str:
    return name if len(name) <= 80 else name[:77] + "..."
