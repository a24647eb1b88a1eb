"""Which axes a routing call leaves alone: what decides whether a map still lies where the image does."""

from collections.abc import Callable, Mapping
from typing import Any

from xai_med.backend.axes import indexing, moved_by_padding
from xai_med.backend.operations import NO_DETAILS, Details

_COPIES = frozenset(
    "clone contiguous cast where masked_fill assign assign_out copy_ share_data _setitem_dygraph channel_shuffle "
    "shuffle_channel set_value set_value_with_tensor expand broadcast_tensors".split()
)
_AXIS_POSITION: Mapping[str, int] = {"concat": 1, "split": 2, "split_with_num": 2, "index_select": 2, "gather": 2}


def routing(name: str, _: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Details:
    """Read the untouched axes off one call; none where the function is not known here."""
    signal = args[0] if args else kwargs.get("x")
    first = signal[0] if isinstance(signal, list | tuple) else signal
    rank = getattr(first, "ndim", None)
    if rank is None:
        return NO_DETAILS
    every = frozenset(range(rank))
    if name == "expand_as":
        return Details(signal=first, untouched=every)
    if name in _COPIES:
        return Details(untouched=every)
    if name == "_getitem_dygraph":
        return indexing(args[1], rank)
    if name in _AXIS_POSITION:
        position = _AXIS_POSITION[name]
        axis = args[position] if len(args) > position else kwargs.get("axis", 0)
        return Details(untouched=every - {int(axis) % rank})
    if name == "unbind":
        axis = int(args[1] if len(args) > 1 else kwargs.get("axis", 0)) % rank
        return Details(untouched=every - {axis}, dropped=frozenset({axis}))
    if name in ("pad", "pad3d"):
        widths = args[1] if len(args) > 1 else kwargs.get("pad", kwargs.get("paddings"))
        return (
            Details(untouched=every - moved_by_padding(widths, rank))
            if isinstance(widths, list | tuple)
            else NO_DETAILS
        )
    return NO_DETAILS
