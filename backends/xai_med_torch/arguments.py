"""Arguments of PyTorch calls by name."""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

# Built-in functions carry no signature; their parameters in order, from the operator schemas.
_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "conv": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "conv_transpose": ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
    "linear": ("input", "weight", "bias"),
    "batch_norm": ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps"),
    "avg_pool": ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    "adaptive_avg_pool": ("input", "output_size"),
    "reduce": ("input", "dim", "keepdim"),
    "dropout": ("input", "p", "training"),
    "softmax": ("input", "dim"),
    "rrelu": ("input", "lower", "upper", "training"),
    "transpose": ("input", "dim0", "dim1"),
    "permute": ("input", "dims"),
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "rms_norm": ("input", "normalized_shape", "weight", "eps"),
    "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
    "instance_norm": ("input", "weight", "bias", "running_mean", "running_var", "use_input_stats", "momentum", "eps"),
}


@lru_cache(maxsize=512)
def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """Signature with named parameters, None for built-in functions."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    return None if inspect.Parameter.VAR_POSITIONAL in kinds else signature


@lru_cache(maxsize=512)
def _named_parameters(function: Callable[..., Any]) -> tuple[tuple[str, ...], dict[str, Any]] | None:
    """Names in order, and defaults by name; None for built-in functions."""
    signature = signature_of(function)
    if signature is None:
        return None
    parameters = signature.parameters
    named = (parameter for parameter in parameters.values() if parameter.kind is not inspect.Parameter.KEYWORD_ONLY)
    defaults = {name: each.default for name, each in parameters.items() if each.default is not inspect.Parameter.empty}
    return tuple(parameter.name for parameter in named), defaults


def bind(family: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by parameter name; not checked, as the function itself is called with the same ones."""
    known = _named_parameters(function)
    if known is None:
        return {**dict(zip(_PARAMETERS[family], args, strict=False)), **kwargs}
    names, defaults = known
    return {**defaults, **dict(zip(names, args, strict=False)), **kwargs}


def flag(name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Value of one boolean argument of a function written in Python; False where it is not given."""
    if name in kwargs:
        return bool(kwargs[name])
    known = _named_parameters(function)
    if known is None or name not in known[0]:
        return False
    position = known[0].index(name)
    return bool(args[position] if position < len(args) else known[1].get(name, False))
