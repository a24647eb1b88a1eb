"""Arguments of PaddlePaddle calls by name."""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

_CONVOLUTION = "x weight stride padding padding_algorithm"
_POOL = "x kernel_size stride padding ceil_mode exclusive data_format pooling_type global_pooling adaptive"
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    name: tuple(parameters.split())
    for name, parameters in {
        "conv2d": f"{_CONVOLUTION} dilation groups data_format",
        "conv3d": f"{_CONVOLUTION} groups dilation data_format",
        "depthwise_conv2d": f"{_CONVOLUTION} groups dilation data_format",
        "linear": "x weight bias",
        "linear_v2": "x weight bias transpose_weight",
        "batch_norm": "x mean variance weight bias is_test momentum epsilon data_format use_global_stats trainable",
        "pool2d": _POOL,
        "pool3d": _POOL,
        "mean": "x axis keepdim",
        "sum": "x axis dtype keepdim",
        "max": "x axis keepdim",
        "amax": "x axis keepdim",
        "transpose": "x perm",
        "dropout": "x seed_tensor p is_test mode",
    }.items()
}
PARAMETERS = {**PARAMETERS, "sync_batch_norm": PARAMETERS["batch_norm"]}
"""Of C++ functions, which carry no signature, in order; from Paddle's operator definitions."""

_SYNONYMS = {"input": "x", "dim": "axis"}


@lru_cache(maxsize=4096)
def _named_parameters(function: Callable[..., Any]) -> tuple[tuple[str, ...], dict[str, Any]] | None:
    """Names in order, and defaults by name, of a function written in Python; None for others."""
    if not inspect.isfunction(function):
        return None
    named = [each for each in inspect.signature(function).parameters.values() if each.kind in _NAMED]
    names = tuple(each.name for each in named if each.kind is not inspect.Parameter.KEYWORD_ONLY)
    return names, {each.name: each.default for each in named if each.default is not inspect.Parameter.empty}


_NAMED = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)


def is_python(function: Callable[..., Any]) -> bool:
    """Whether a function is written in Python, so that all its parameters have names."""
    return _named_parameters(function) is not None


def has_parameter(name: str, function: Callable[..., Any]) -> bool:
    """Whether a function written in Python has a parameter of this name."""
    known = _named_parameters(function)
    return known is not None and (name in known[0] or name in known[1])


def bind(name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by parameter name; not checked, as the function itself is called with the same ones.

    Parameters
    ----------
    name : str
        Of the function; of a C++ function whose parameters are not known here, only what is named is given.
    function : callable
        As the model called it.
    args, kwargs
        As the model gave them.
    """
    if kwargs and not kwargs.keys().isdisjoint(_SYNONYMS):
        kwargs = {_SYNONYMS.get(key, key): value for key, value in kwargs.items()}
    known = _named_parameters(function)
    if known is None:
        return {**dict(zip(PARAMETERS.get(name, ()), args, strict=False)), **kwargs}
    names, defaults = known
    return {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
