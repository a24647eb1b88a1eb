"""Reads weights and geometry off PyTorch calls."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from xai_med.backend.operations import NO_DETAILS, BatchStatistics, Details, Kind
from xai_med_torch.arguments import bind
from xai_med_torch.normalisation import normalisation
from xai_med_torch.routing import routing
from xai_med_torch.table import BOUNDED


def read(kind: Kind, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Details:
    """Details of one call; `NO_DETAILS` where the kind has none.

    Parameters
    ----------
    kind : Kind
        From the table.
    function : callable
        As the model called it.
    args, kwargs
        As the model gave them.
    """
    reader = _READERS.get(kind)
    return NO_DETAILS if reader is None else reader(function, args, kwargs)


class _LinearMap:
    """The same operation with other values; as small as can be, as the record keeps one for every layer."""

    __slots__ = ("_function", "_named", "_rest")

    def __init__(self, function: Callable[..., Any], rest: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        self._function, self._rest, self._named = function, rest, named

    def __call__(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        result: torch.Tensor = self._function(x, weight, bias, *self._rest, **self._named)
        return result


_GROUPS = 6  # position among the arguments of every convolution


def _weighted(
    family: str, output_axis: Callable[[int], int | None], function: Callable[..., Any], args: Any, kwargs: Any
) -> Details:
    if len(args) > 2 and not kwargs:  # as modules call it
        (signal, weight, bias), rest, named = args[:3], args[3:], kwargs
        groups = args[_GROUPS] if len(args) > _GROUPS else 1
    else:
        rest, named = (), bind(family, function, args, kwargs)
        signal, weight, bias = named.pop("input"), named.pop("weight"), named.pop("bias", None)
        groups = named.get("groups", 1)
    return Details(
        signal=signal,
        weight=weight,
        bias=bias,
        linear_map=_LinearMap(function, rest, named),
        output_axis=output_axis(groups),
        space=None if family == "linear" else weight.ndim - 2,
        channels=weight.shape[1] * int(groups) if family == "conv" else None,
    )


def _batch_norm(function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    given = bind("batch_norm", function, args, kwargs)
    signal, mean, variance, training = (
        given.get(name) for name in ("input", "running_mean", "running_var", "training")
    )
    if training or mean is None or variance is None:
        return Details(signal=signal, couples_images=True, changes_model=bool(training) and mean is not None)
    # the statistics must not keep the signal alive
    rest = mean, variance, given.get("weight"), given.get("bias"), given.get("eps", 1e-5)
    return Details(signal=signal, statistics=BatchStatistics(partial(_scale_and_shift, *rest)))


def _scale_and_shift(
    mean: torch.Tensor, variance: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The affine map of a batch norm by its running statistics."""
    with torch.no_grad():  # checkpointing counts what is saved for derivatives
        scale = torch.rsqrt(variance + epsilon)
        if weight is not None:
            scale = scale * weight
        shift = -mean * scale
        if bias is not None:
            shift = shift + bias
    return scale, shift


def _average_pool(function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    space = int(function.__name__[-2])
    if function.__name__.startswith("adaptive"):
        given = bind("adaptive_avg_pool", function, args, kwargs)
        signal, sizes = given["input"], given["output_size"]
        sizes = (sizes,) * space if isinstance(sizes, int) else tuple(sizes)
        shape = tuple(signal.shape)[2:]
        is_global = all((old if new is None else new) == 1 for old, new in zip(shape, sizes, strict=False))
        return Details(signal=signal, space=space, is_global=is_global)
    given = bind("avg_pool", function, args, kwargs)
    signal, kernel = given["input"], _sizes(given["kernel_size"], space)
    padding = _sizes(given.get("padding") or 0, space)
    is_global = tuple(signal.shape)[2:] == kernel and not any(padding) and given.get("divisor_override") is None
    return Details(signal=signal, space=space, is_global=is_global)


def _sizes(value: Any, space: int) -> tuple[int, ...]:
    sizes = (value,) if isinstance(value, int) else tuple(value)
    return sizes * space if len(sizes) == 1 else sizes


def _max_pool(function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    signal = args[0] if args else kwargs["input"]
    digits = [character for character in function.__name__ if character.isdigit()]
    return Details(signal=signal, space=int(digits[0]))


def _reduction(function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    given = bind("reduce", function, args, kwargs)
    signal = given["input"] if "input" in given else args[0]
    dims = given.get("dim", given.get("axis"))
    if len(args) > 2 and isinstance(args[1], int) and isinstance(args[2], int) and not isinstance(args[2], bool):
        dims = args[1:]
    if isinstance(dims, torch.Tensor):  # max(a, b) of two tensors
        return Details()
    if dims is None:
        dims = tuple(range(signal.ndim))
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    reduced = tuple(sorted(dim % signal.ndim for dim in dims)) or tuple(range(signal.ndim))
    return Details(signal=signal, reduced=reduced, keeps_axes=bool(given.get("keepdim", given.get("keepdims", False))))


def _permutation(function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    signal = args[0] if args else kwargs["input"]
    # let PyTorch say where each axis of a marker goes that has a size of its own for every axis
    marker = torch.empty(tuple(range(2, signal.ndim + 2)))
    others = {name: value for name, value in kwargs.items() if name != "input"}
    return Details(order=tuple(size - 2 for size in function(marker, *args[1:], **others).shape))


def _softmax(function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    given = bind("softmax", function, args, kwargs)
    signal, dim = given["input"], given.get("dim")
    if dim is None:  # PyTorch's own choice, of which it warns
        dim = 0 if signal.ndim in (0, 1, 3) else 1
    return Details(signal=signal, reduced=(int(dim) % max(signal.ndim, 1),))


def _dropout(function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    given = bind("dropout", function, args, kwargs)
    signal = given.get("input", args[0] if args else None)
    probability = given.get("p", 0.5)
    training = given.get("training", given.get("train", True))
    return Details(signal=signal, is_active=bool(training) and probability > 0)


def _activation(function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    name = function.__name__.removesuffix("_")
    if name in ("clamp", "clip"):
        bounds = [*args[1:], *kwargs.values()]
        return Details(is_bounded=sum(bound is not None for bound in bounds) > 1)
    if name in BOUNDED:
        return Details(is_bounded=True)
    if name != "rrelu":
        return NO_DETAILS
    given = bind("rrelu", function, args, kwargs)
    return Details(is_active=bool(given.get("training", False)))


def _attention(function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    if function.__name__ == "multi_head_attention_forward":
        given = bind("multi_head_attention_forward", function, args, kwargs)
        return Details(is_active=bool(given["training"]) and given["dropout_p"] > 0)
    probability = args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0)
    return Details(is_active=probability > 0, equation="...qd,...kd,...kv->...qv")


def _product(function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    name = function.__name__
    if name == "einsum":
        return Details(equation=args[0]) if isinstance(args[0], str) else NO_DETAILS
    operands = (*args, *kwargs.values())
    if name not in ("matmul", "bmm", "mm", "__matmul__") or min(operand.ndim for operand in operands[:2]) < 2:
        return NO_DETAILS
    return Details(equation="...ij,...jk->...ik")


def _random(*_: Any) -> Details:
    return Details(is_active=True)


def _transposed_axis(groups: int) -> int | None:
    return 1 if groups == 1 else None


_READERS: Mapping[Kind, Callable[[Callable[..., Any], Any, Any], Details]] = {
    Kind.CONVOLUTION: partial(_weighted, "conv", lambda _: 0),
    Kind.TRANSPOSED_CONVOLUTION: partial(_weighted, "conv_transpose", _transposed_axis),
    Kind.LINEAR: partial(_weighted, "linear", lambda _: 0),
    Kind.BATCH_NORM: _batch_norm,
    Kind.NORMALISATION: normalisation,
    Kind.AVERAGE_POOL: _average_pool,
    Kind.MAX_POOL: _max_pool,
    Kind.MEAN: _reduction,
    Kind.SUM: _reduction,
    Kind.MAXIMUM: _reduction,
    Kind.PERMUTE: _permutation,
    Kind.ROUTING: routing,
    Kind.CONCATENATE: routing,
    Kind.DROPOUT: _dropout,
    Kind.SOFTMAX: _softmax,
    Kind.ACTIVATION: _activation,
    Kind.ATTENTION: _attention,
    Kind.MATMUL: _product,
    Kind.RANDOM: _random,
}
