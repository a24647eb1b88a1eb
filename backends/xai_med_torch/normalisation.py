"""What layer, group, instance and RMS norm take their statistics over."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from xai_med.backend.operations import Details, Spread
from xai_med_torch.arguments import bind


def normalisation(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Details:
    """Signal and spread of one call; no spread where it is not known here, or comes from running statistics."""
    name = function.__name__
    if name == "normalize":
        given = bind(name, function, args, kwargs)
        return Details(signal=given["input"], reduced=(given["dim"] % given["input"].ndim,))
    if name not in _READERS:
        return Details(signal=args[0] if args else kwargs["input"])
    given = bind(name, function, args, kwargs)
    return Details(signal=given["input"], spread=_READERS[name](given))


def _layer_norm(given: Mapping[str, Any]) -> Spread:
    signal, rank = given["input"], len(tuple(given["normalized_shape"]))
    axes = tuple(range(signal.ndim - rank, signal.ndim))
    return Spread(tuple(signal.shape), axes, True, given.get("eps", 1e-5), _detached(given.get("weight")))


def _rms_norm(given: Mapping[str, Any]) -> Spread:
    signal, rank, epsilon = given["input"], len(tuple(given["normalized_shape"])), given.get("eps")
    axes = tuple(range(signal.ndim - rank, signal.ndim))
    epsilon = torch.finfo(signal.dtype).eps if epsilon is None else epsilon
    return Spread(tuple(signal.shape), axes, False, epsilon, _detached(given.get("weight")))


def _group_norm(given: Mapping[str, Any]) -> Spread:
    signal, groups = given["input"], int(given["num_groups"])
    view = (signal.shape[0], groups, signal.shape[1] // groups, *signal.shape[2:])
    return Spread(view, tuple(range(2, len(view))), True, given.get("eps", 1e-5), _per_channel(given))


def _instance_norm(given: Mapping[str, Any]) -> Spread | None:
    signal = given["input"]
    if not given.get("use_input_stats", True):
        return None
    axes = tuple(range(2, signal.ndim))
    return Spread(tuple(signal.shape), axes, True, given.get("eps", 1e-5), _per_channel(given))


def _per_channel(given: Mapping[str, Any]) -> torch.Tensor | None:
    weight = _detached(given.get("weight"))
    return None if weight is None else weight.reshape(-1, *(1,) * (given["input"].ndim - 2))


def _detached(weight: torch.Tensor | None) -> torch.Tensor | None:
    return None if weight is None else weight.detach()


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Spread | None]] = {
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
}
