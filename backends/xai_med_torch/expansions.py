"""Fused functions as the elementary operations that they are made of, for methods with a rule for each."""

from collections.abc import Callable, Mapping
from math import sqrt
from types import MappingProxyType
from typing import Any

import torch
from torch.nn import functional

from xai_med.errors import UnsupportedOperationError
from xai_med_torch.arguments import bind


def scaled_dot_product_attention(given: Mapping[str, Any]) -> torch.Tensor:
    """``softmax(q k^T scale + mask) v`` (Vaswani et al. 2017, equation 1)."""
    query, key, value = given["query"], given["key"], given["value"]
    if given.get("enable_gqa", False):
        repeats = query.shape[-3] // key.shape[-3]
        key, value = (part.repeat_interleave(repeats, -3) for part in (key, value))
    scale = given.get("scale")
    scale = 1 / sqrt(query.shape[-1]) if scale is None else scale
    logits = torch.matmul(query * scale, key.transpose(-2, -1))
    mask = given.get("attn_mask")
    if given.get("is_causal", False):
        mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
    return torch.matmul(_masked(logits, mask).softmax(-1), value)


def multi_head_attention(given: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Projections, heads, attention and output projection of ``torch.nn.MultiheadAttention``."""
    _refuse_rare(given)
    query, key, value = given["query"], given["key"], given["value"]
    heads = given["num_heads"]
    parts = [
        _heads(functional.linear(signal, weight, bias), heads)
        for signal, (weight, bias) in zip((query, key, value), _projections(given), strict=True)
    ]
    logits = torch.matmul(parts[0] * (1 / sqrt(parts[0].shape[-1])), parts[1].transpose(-2, -1))
    mask = given.get("attn_mask")
    if mask is None and given.get("is_causal", False):
        raise UnsupportedOperationError("is_causal=True without attn_mask; give the mask")
    if mask is not None and mask.ndim == 3:
        mask = mask.reshape(-1, heads, *mask.shape[1:])
    if mask is not None and mask.dtype == torch.bool:
        mask = ~mask  # True means here: may not be attended to
    logits = _masked(logits, mask)
    padding = given.get("key_padding_mask")
    if padding is not None:
        padding = padding[:, None, None, :]
        logits = _masked(logits, ~padding if padding.dtype == torch.bool else padding)
    weights = logits.softmax(-1)
    mixed = torch.matmul(weights, parts[2]).permute(2, 0, 1, 3)  # (targets, N, heads, channels)
    output = functional.linear(mixed.flatten(2), given["out_proj_weight"], given.get("out_proj_bias"))
    if not given.get("need_weights", True):
        return output, None
    return output, weights.mean(1) if given.get("average_attn_weights", True) else weights


def _refuse_rare(given: Mapping[str, Any]) -> None:
    rare = ("bias_k", "bias_v", "static_k", "static_v")
    used = [name for name in rare if given.get(name) is not None] + ["add_zero_attn"] * bool(given.get("add_zero_attn"))
    if used or given["query"].ndim != 3:
        raise UnsupportedOperationError(
            f"multi-head attention with {', '.join(used) or 'an unbatched query'} has no rule; use method='grad_cam'"
        )


def _projections(given: Mapping[str, Any]) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    if given.get("use_separate_proj_weight", False):
        weights = [given[f"{name}_proj_weight"] for name in "qkv"]
    else:
        weights = list(given["in_proj_weight"].chunk(3))
    bias = given.get("in_proj_bias")
    return list(zip(weights, (None,) * 3 if bias is None else bias.chunk(3), strict=True))


def _heads(signal: torch.Tensor, heads: int) -> torch.Tensor:
    """(length, N, channels) to (N, heads, length, channels per head)."""
    return signal.reshape(*signal.shape[:-1], heads, -1).permute(1, 2, 0, 3)


def _masked(logits: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    if mask is None:
        return logits
    return logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask


def _sum_of_products(given: Mapping[str, Any]) -> torch.Tensor:
    beta, alpha = given.get("beta", 1), given.get("alpha", 1)
    result: torch.Tensor = given["input"] * beta + torch.matmul(given["first"], given["second"]) * alpha
    return result


_ADDED = ("input", "first", "second")
_EXPANSIONS: Mapping[str, tuple[Callable[[Mapping[str, Any]], Any], tuple[str, ...]]] = MappingProxyType(
    {
        "scaled_dot_product_attention": (
            scaled_dot_product_attention,
            ("query", "key", "value", "attn_mask", "dropout_p", "is_causal"),
        ),
        "multi_head_attention_forward": (multi_head_attention, ()),
        "addmm": (_sum_of_products, _ADDED),
        "baddbmm": (_sum_of_products, _ADDED),
    }
)
_SYNONYMS = {"mat1": "first", "mat2": "second", "batch1": "first", "batch2": "second"}


FUSED = frozenset(_EXPANSIONS)
"""Functions that are made of elementary operations."""


def expansion(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Callable[[], Any]:
    """A function that runs one call of a fused function as elementary operations."""
    run, parameters = _EXPANSIONS[name]
    if not parameters:
        return lambda: run(bind(name, function, args, kwargs))
    named = {_SYNONYMS.get(key, key): value for key, value in kwargs.items()}
    return lambda: run({**dict(zip(parameters, args, strict=False)), **named})
