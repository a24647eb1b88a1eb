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


def bind(family: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by parameter name."""
    signature = signature_of(function)
    if signature is None:
        return {**dict(zip(_PARAMETERS[family], args, strict=False)), **kwargs}
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)
