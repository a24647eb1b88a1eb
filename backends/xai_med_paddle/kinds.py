"""The kind of a call, where it depends on the arguments."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

from xai_med.backend.operations import Kind
from xai_med.backend.tensors import Tensor
from xai_med_paddle.arguments import bind

CHANNELS_LAST = frozenset({"NLC", "NHWC", "NDHWC"})

_LAYOUT_KINDS = frozenset(
    {Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION, Kind.BATCH_NORM, Kind.MAX_POOL, Kind.AVERAGE_POOL, Kind.RESAMPLE}
)

Depends: TypeAlias = Callable[[Tensor], bool]
"""Whether a tensor was computed from the network's input."""

Correction: TypeAlias = Callable[[tuple[Any, ...], Mapping[str, Any], Depends], Kind]
"""Gives the kind of a call with these arguments."""


def correction(kind: Kind, name: str, function: Callable[..., Any]) -> Correction | None:
    """How to correct the table's kind of a function by the arguments of a call; None where nothing depends on them.

    Parameters
    ----------
    kind : Kind
        From the table.
    name : str
        Of the function, without the trailing underscore of in-place variants.
    function : callable
        As models call it.
    """
    if name == "scale":
        return _of_scale
    if name in ("addmm", "baddbmm"):
        return _of_product_and_sum
    if kind is Kind.AVERAGE_POOL:
        return partial(_of_average_pool, name, function)
    if kind is Kind.DROPOUT:
        return partial(_of_dropout, name, function)
    if kind is Kind.LINEAR:
        return partial(_of_linear, name, function)
    return partial(_by_layout, kind) if kind in _LAYOUT_KINDS else None


def _by_layout(kind: Kind, args: tuple[Any, ...], kwargs: Mapping[str, Any], _: Depends) -> Kind:
    """All that the core knows of axes is channels first."""
    if kwargs and kwargs.get("data_format") in CHANNELS_LAST:
        return Kind.UNKNOWN
    for value in args:
        if isinstance(value, str) and value in CHANNELS_LAST:
            return Kind.UNKNOWN
    return kind


def _of_scale(args: tuple[Any, ...], _: Mapping[str, Any], __: Depends) -> Kind:
    """``scale`` is x * factor + bias."""
    return Kind.UNKNOWN if len(args) > 2 and args[2] != 0 else Kind.MULTIPLY


def _of_product_and_sum(args: tuple[Any, ...], _: Mapping[str, Any], depends: Depends) -> Kind:
    """A sum and a product at once has no rule where the summand is a signal too."""
    return Kind.UNKNOWN if args and depends(args[0]) else Kind.MATMUL


def _of_average_pool(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], depends: Depends
) -> Kind:
    if _by_layout(Kind.AVERAGE_POOL, args, kwargs, depends) is Kind.UNKNOWN:
        return Kind.UNKNOWN
    given = bind(name, function, args, kwargs)
    if given.get("pooling_type", "avg") != "avg":
        return Kind.MAX_POOL
    return Kind.AVERAGE_POOL if given.get("divisor_override") is None else Kind.UNKNOWN


def _of_dropout(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], _: Depends
) -> Kind:
    """A dropout of mode ``downscale_in_infer`` multiplies by 1 - p outside of training."""
    given = bind(name, function, args, kwargs)
    scales = str(given.get("mode", "")).endswith("in_infer") and not is_training(given) and float(given["p"]) > 0
    return Kind.MULTIPLY if scales else Kind.DROPOUT


def _of_linear(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], depends: Depends
) -> Kind:
    """A weight that the network has computed is another signal."""
    return Kind.MATMUL if depends(bind(name, function, args, kwargs)["weight"]) else Kind.LINEAR


def is_training(given: Mapping[str, Any]) -> bool:
    """Whether a dropout call drops."""
    return bool(given["training"]) if "training" in given else not given.get("is_test", False)
