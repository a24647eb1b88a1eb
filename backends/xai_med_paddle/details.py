"""Reads weights and geometry off PaddlePaddle calls."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import paddle

from xai_med.backend.operations import NO_DETAILS, BatchStatistics, Details, Kind
from xai_med.backend.tensors import Tensor
from xai_med_paddle.arguments import PARAMETERS, bind, is_python
from xai_med_paddle.kinds import is_training
from xai_med_paddle.normalisation import normalisation
from xai_med_paddle.routing import routing
from xai_med_paddle.table import BOUNDED


def read(
    kind: Kind, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Details:
    """Details of one call; `NO_DETAILS` where the kind has none.

    Parameters
    ----------
    kind : Kind
        From the table.
    name : str
        Of the function, without the trailing underscore of in-place variants.
    function : callable
        As the model called it.
    args, kwargs
        As the model gave them.
    """
    reader = _READERS.get(kind)
    return NO_DETAILS if reader is None else reader(name, function, args, kwargs)


# ---- operations with weights


def _weighted(
    output_axis: Callable[[dict[str, Any]], int | None],
    name: str,
    function: Callable[..., Any],
    args: Any,
    kwargs: Any,
) -> Details:
    given = bind(name, function, args, kwargs)
    signal, weight, bias = given.pop("x"), given.pop("weight"), given.pop("bias", None)
    if not is_python(function):
        rest = tuple(given.values())

        def linear_map(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
            result = function(x, w, *rest)
            return result if b is None else result + b.reshape([1, -1] + [1] * (x.ndim - 2))

    else:

        def linear_map(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
            return function(x, w, b, **given)

    shape = weight.shape
    return Details(
        signal=signal,
        weight=weight,
        bias=bias,
        linear_map=linear_map,
        output_axis=output_axis(given),
        space=len(shape) - 2,
        channels=None if "transpose" in name else int(shape[1]) * int(given.get("groups") or 1),
    )


def _transposed_axis(given: Mapping[str, Any]) -> int | None:
    return 1 if given.get("groups", 1) == 1 else None


def _linear(name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    given = bind(name, function, args, kwargs)
    weight = given["weight"].detach()

    def linear_map(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return paddle.nn.functional.linear(x, w.transpose([1, 0]), b)

    return Details(
        signal=given["x"],
        # Paddle keeps the weight as (in, out)
        weight=weight if given.get("transpose_weight") else weight.transpose([1, 0]),
        bias=given.get("bias"),
        linear_map=linear_map,
        output_axis=0,
    )


def uses_running_statistics(name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> bool:
    """Whether a batch norm call normalises by its running statistics."""
    given = _of_batch_norm(name, function, args, kwargs)
    return bool(given[9] or (given[5] and not given[10]))  # use_global_stats, is_test, trainable


def _batch_norm(name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    given = _of_batch_norm(name, function, args, kwargs)
    if not uses_running_statistics(name, function, given, {}):
        return Details(signal=given[0], couples_images=True)
    signal, mean, variance, weight, bias, _, _, epsilon, *_ = given
    affine = partial(_scale_and_shift, mean, variance, weight, bias, epsilon)
    return Details(signal=signal, statistics=BatchStatistics(affine))


def _of_batch_norm(name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, ...]:
    """Arguments in the order of the C++ function, as Paddle's own layers give them."""
    if not kwargs and len(args) == len(PARAMETERS["batch_norm"]):
        return tuple(args)
    given = bind(name, function, args, kwargs)
    return tuple(given.get(parameter) for parameter in PARAMETERS["batch_norm"])


def _scale_and_shift(
    mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor]:
    """The affine map of a batch norm by its running statistics."""
    with paddle.no_grad():
        scale = paddle.rsqrt(variance + epsilon)
        scale = scale if weight is None else scale * weight
        shift = -mean * scale
        return scale, shift if bias is None else shift + bias


# ---- pools, reductions and permutations


def _average_pool(name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    space = int(name[-2])
    given = bind(name, function, args, kwargs)
    shape = tuple(given["x"].shape)[2:]
    if "output_size" in given or given.get("adaptive"):
        sizes = _sizes(given.get("output_size", given.get("kernel_size")), space)
        is_global = all((old if new is None else new) == 1 for old, new in zip(shape, sizes, strict=False))
    elif given.get("global_pooling"):
        is_global = True
    else:
        is_global = shape == _sizes(given["kernel_size"], space) and not _pads(given["padding"])
    return Details(signal=given["x"], space=space, is_global=is_global)


def _sizes(value: Any, space: int) -> tuple[int | None, ...]:
    sizes = tuple(value) if isinstance(value, list | tuple) else (value,)
    return sizes * space if len(sizes) == 1 else sizes


def _pads(padding: Any) -> bool:
    if isinstance(padding, str):
        return padding.upper() != "VALID"
    if isinstance(padding, list | tuple):
        return any(_pads(item) for item in padding)
    return bool(padding != 0)


def _max_pool(name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    digits = [character for character in name if character.isdigit()]
    return Details(signal=_signal(name, function, args, kwargs), space=int(digits[0]))


def _reduction(name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    given = bind(name, function, args, kwargs)
    signal, axes = given["x"], given.get("axis")
    axes = () if axes is None else tuple(axes) if isinstance(axes, list | tuple) else (axes,)
    keeps = given.get("keepdim", False)
    if isinstance(given.get("dtype"), bool):  # x.sum(axis, True), as PyTorch has it
        keeps = given["dtype"]
    reduced = tuple(sorted(int(axis) % signal.ndim for axis in axes)) or tuple(range(signal.ndim))
    return Details(signal=signal, reduced=reduced, keeps_axes=bool(keeps))


def _permutation(name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    given = bind(name, function, args, kwargs)
    return Details(order=tuple(int(axis) % given["x"].ndim for axis in given["perm"]))


# ---- the rest


def _softmax(_: str, __: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    signal = args[0] if args else kwargs["x"]
    axis = args[1] if len(args) > 1 else kwargs.get("axis", -1)
    return Details(signal=signal, reduced=(int(axis) % max(signal.ndim, 1),))


def _dropout(name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    given = bind(name, function, args, kwargs)
    return Details(signal=given["x"], is_active=is_training(given) and float(given["p"]) > 0)


def _signal(name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Tensor:
    return args[0] if args else bind(name, function, args, kwargs)["x"]


def _activation(name: str, _: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    if name == "clip":  # a bound that was not given is the largest float32
        bounds = [value for value in (*args[1:], *kwargs.values()) if isinstance(value, int | float)]
        return Details(is_bounded=len(bounds) == 2 and all(abs(bound) < _UNBOUNDED for bound in bounds))
    return Details(is_bounded=True) if name in BOUNDED else NO_DETAILS


_UNBOUNDED = 1e30


def _attention(name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    given = bind(name, function, args, kwargs)
    is_active = bool(given.get("training", True)) and float(given.get("dropout_p", 0.0)) > 0
    return Details(
        is_active=is_active, equation="bqhd,bkhd,bkhv->bqhv" if name == "scaled_dot_product_attention" else None
    )


def _product(name: str, _: Callable[..., Any], args: Any, kwargs: Any) -> Details:
    if name == "einsum":
        return Details(equation=args[1]) if len(args) == 2 and isinstance(args[1], str) else NO_DETAILS
    first, second = (*args, *kwargs.values())[:2]
    if name not in _PRODUCTS or min(first.ndim, second.ndim) < 2:
        return NO_DETAILS
    if _PRODUCTS[name] is not None:
        return Details(equation=_PRODUCTS[name])
    flips = dict(zip(("transpose_x", "transpose_y"), args[2:], strict=False))
    left, right = (kwargs.get(flag, flips.get(flag, False)) for flag in ("transpose_x", "transpose_y"))
    return Details(equation=f"...{'ji' if left else 'ij'},...{'kj' if right else 'jk'}->...ik")


def _random(*_: Any) -> Details:
    return Details(is_active=True)


_PRODUCTS: Mapping[str, str | None] = {
    "matmul": None,
    "bmm": None,
    "__matmul__": None,
    "__rmatmul__": "...jk,...ij->...ik",
    "linear": "...ij,...jk->...ik",  # by a weight that the network has computed
}
"""Equations of matrix products; None where flags of the call decide."""

_READERS: Mapping[Kind, Callable[[str, Callable[..., Any], Any, Any], Details]] = {
    Kind.CONVOLUTION: partial(_weighted, lambda _: 0),
    Kind.TRANSPOSED_CONVOLUTION: partial(_weighted, _transposed_axis),
    Kind.LINEAR: _linear,
    Kind.BATCH_NORM: _batch_norm,
    Kind.NORMALISATION: normalisation,
    Kind.ACTIVATION: _activation,
    Kind.ATTENTION: _attention,
    Kind.MATMUL: _product,
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
    Kind.RANDOM: _random,
}
READ_KINDS = frozenset(_READERS) - {Kind.ACTIVATION}
"""Kinds whose arguments are read; of an activation the name suffices."""
