"""What layer, group, instance and RMS norm take their statistics over."""

from collections.abc import Callable, Mapping
from typing import Any

from xai_med.backend.operations import Details, Spread
from xai_med.backend.tensors import Tensor

_PARAMETERS: Mapping[str, tuple[str, ...]] = {  # of the C++ functions, from Paddle's operator definitions
    "layer_norm": ("x", "weight", "bias", "epsilon", "begin_norm_axis"),
    "group_norm": ("x", "weight", "bias", "epsilon", "groups", "data_format"),
    "instance_norm": ("x", "weight", "bias", "epsilon"),
}


def normalisation(name: str, _: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Details:
    """Signal and spread of one call; no spread where it is not known here."""
    given = {**dict(zip(_PARAMETERS.get(name, ("x",)), args, strict=False)), **kwargs}
    signal = given["x"] if "x" in given else args[0]
    if name == "normalize":
        axis = args[2] if len(args) > 2 else kwargs.get("axis", 1)
        return Details(signal=signal, reduced=(int(axis) % signal.ndim,))
    if name not in _PARAMETERS:
        return Details(signal=signal)
    return Details(signal=signal, spread=_READERS[name](given))


def _layer_norm(given: Mapping[str, Any]) -> Spread:
    shape = tuple(given["x"].shape)
    first = int(given["begin_norm_axis"])
    weight = given["weight"]
    scale = None if weight is None else weight.detach().reshape(list(shape[first:]))
    return Spread(shape, tuple(range(first, len(shape))), True, float(given["epsilon"]), scale)


def _group_norm(given: Mapping[str, Any]) -> Spread | None:
    if given.get("data_format", "NCHW") not in ("NCHW", "NCL", "NCDHW"):
        return None
    shape, groups = tuple(given["x"].shape), int(given["groups"])
    view = (shape[0], groups, shape[1] // groups, *shape[2:])
    return Spread(view, tuple(range(2, len(view))), True, float(given["epsilon"]), _per_channel(given))


def _instance_norm(given: Mapping[str, Any]) -> Spread:
    shape = tuple(given["x"].shape)
    return Spread(shape, tuple(range(2, len(shape))), True, float(given["epsilon"]), _per_channel(given))


def _per_channel(given: Mapping[str, Any]) -> Tensor | None:
    weight = given["weight"]
    return None if weight is None else weight.detach().reshape([-1] + [1] * (given["x"].ndim - 2))


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Spread | None]] = {
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
}
