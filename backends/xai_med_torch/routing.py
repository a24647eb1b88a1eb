"""Which axes a routing call leaves alone: what decides whether a map still lies where the image does."""

from collections.abc import Callable, Mapping
from typing import Any

from xai_med.backend.axes import indexing, moved_by_padding
from xai_med.backend.operations import NO_DETAILS, Details

_COPIES = frozenset(
    "clone contiguous to float double half bfloat16 type type_as cpu cuda where masked_fill masked_fill_ copy_ alias "
    "positive __setitem__ channel_shuffle".split()
)
_ALONG_ONE_AXIS: Mapping[str, tuple[int, int]] = {  # position of the axis, and its default
    "chunk": (2, 0),
    "split": (2, 0),
    "tensor_split": (2, 0),
    "narrow": (1, 0),
    "index_select": (1, 0),
    "cat": (1, 0),
    "concat": (1, 0),
    "concatenate": (1, 0),
}


def routing(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Details:
    """Read the untouched axes off one call; none where the function is not known here."""
    name = function.__name__
    signal = args[0] if args else kwargs.get("input", kwargs.get("tensors"))
    first = signal[0] if isinstance(signal, list | tuple) else signal
    rank = getattr(first, "ndim", None)
    if rank is None:
        return NO_DETAILS
    every = frozenset(range(rank))
    if name in _COPIES:
        return Details(untouched=every)
    if name == "__getitem__":
        return indexing(args[1], rank)
    if name in _ALONG_ONE_AXIS:
        position, default = _ALONG_ONE_AXIS[name]
        axis = args[position] if len(args) > position else kwargs.get("dim", kwargs.get("axis", default))
        return Details(untouched=every - {int(axis) % rank})
    if name in ("unbind", "select"):
        axis = int(args[1] if len(args) > 1 else kwargs.get("dim", 0)) % rank
        return Details(untouched=every - {axis}, dropped=frozenset({axis}))
    if name == "pad":
        return Details(untouched=every - moved_by_padding(args[1] if len(args) > 1 else kwargs["pad"], rank))
    if name == "expand_as":
        return Details(signal=first, untouched=every)
    if name in ("expand", "broadcast_to"):
        return Details(untouched=every)  # axes of size 1 only are repeated
    return NO_DETAILS
