"""Local derivatives of single nodes, for many cotangents at once.

Each function gets a node of PyTorch's graph of derivatives, cotangents of its output, of shape (K, *shape), and which
arguments are asked for; it gives one tensor (K, *shape of the argument) for each. Formulas read what the node itself
has saved, and PyTorch checks at every reading that it was not written since.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import TypeAlias

import torch

from xai_med_torch.reverse.held import Held
from xai_med_torch.reverse.ways import GraphNode

Local: TypeAlias = Callable[[GraphNode, Held, Sequence[int]], list[Held]]


def _same(node: GraphNode, held: Held, asked: Sequence[int]) -> list[Held]:  # noqa: ARG001
    return [held for _ in asked]


def _overwriting(node: GraphNode, held: Held, asked: Sequence[int]) -> list[Held]:  # noqa: ARG001
    return [held if position == 1 else Held(torch.zeros_like(held.value), is_own=True) for position in asked]


def _convolution(node: GraphNode, held: Held, asked: Sequence[int]) -> list[Held]:
    weight = node._saved_weight
    if tuple(asked) != (0,) or held.value.ndim != weight.ndim + 1:
        return one_by_one(node, held, asked)
    layout = memory_format(weight)
    result, *_ = torch.ops.aten.convolution_backward(
        held.value.flatten(0, 1).contiguous(memory_format=layout),
        _like(node._saved_input, len(held.value), layout),
        weight.contiguous(memory_format=layout),
        None,
        node._saved_stride,
        node._saved_padding,
        node._saved_dilation,
        node._saved_transposed,
        node._saved_output_padding,
        node._saved_groups,
        (True, False, False),
    )
    return [Held(result.unflatten(0, (len(held.value), -1)), is_own=True)]


def _relu(node: GraphNode, held: Held, asked: Sequence[int]) -> list[Held]:  # noqa: ARG001
    result = node._saved_result
    is_on = (result > 0).to(held.value.dtype)
    return [held.times(is_on.contiguous(memory_format=memory_format(result)))]


def _batch_norm(node: GraphNode, held: Held, asked: Sequence[int]) -> list[Held]:
    if node._saved_training or tuple(asked) != (0,):
        return one_by_one(node, held, asked)
    scale = torch.rsqrt(node._saved_running_var + node._saved_eps)
    if node._saved_weight is not None:
        scale = scale * node._saved_weight
    return [held.times(scale.reshape(-1, *(1,) * (held.value.ndim - 3)))]


def _product(node: GraphNode, held: Held, asked: Sequence[int]) -> list[Held]:
    factors = [getattr(node, "_saved_self" if position else "_saved_other") for position in asked]
    if len(factors) > 1:
        held.is_own = False  # each product needs it as it is
    return [
        held.times(each.contiguous(memory_format=memory_format(each)) if isinstance(each, torch.Tensor) else each)
        for each in factors
    ]


def _sum(node: GraphNode, held: Held, asked: Sequence[int]) -> list[Held]:
    if len(asked) > 1:
        held.is_own = False
    return [held if position == 0 or node._saved_alpha == 1 else held.times(node._saved_alpha) for position in asked]


def _concatenation(node: GraphNode, held: Held, asked: Sequence[int]) -> list[Held]:
    value = held.value
    (axis,) = _axes([node._saved_dim], value.ndim - 1)
    results, start, wanted = [], 0, set(asked)
    for position, (child, output) in enumerate(node.next_functions):
        if child is None:  # a constant, whose size is not known here
            return one_by_one(node, held, asked)
        size = child._input_metadata[output].shape[axis]
        if position in wanted:
            results.append(Held(value.narrow(axis + 1, start, size), held.is_own))
        start += size
    return results if start == value.shape[axis + 1] else one_by_one(node, held, asked)


def _reshaping(node: GraphNode, held: Held, asked: Sequence[int]) -> list[Held]:
    ((child, output),) = [node.next_functions[position] for position in asked]
    shape = (len(held.value), *child._input_metadata[output].shape)
    return [Held(held.value.reshape(shape), held.is_own)]


def _mean(node: GraphNode, held: Held, asked: Sequence[int]) -> list[Held]:
    if not getattr(node, "_saved_dim", None):  # over all axes, by another variant of the node
        return one_by_one(node, held, asked)
    shape, value = tuple(node._saved_self_sym_sizes), held.value
    axes = _axes(node._saved_dim, len(shape))
    if not node._saved_keepdim:
        for axis in sorted(axes):
            value = value.unsqueeze(axis + 1)
    return [Held((value / prod(shape[axis] for axis in axes)).expand(len(value), *shape))]


def _adaptive_mean(node: GraphNode, held: Held, asked: Sequence[int]) -> list[Held]:
    shape, value = tuple(node._saved_self.shape), held.value
    if len(shape) != 4 or prod(value.shape[3:]) != 1:
        return one_by_one(node, held, asked)
    return [Held((value / prod(shape[2:])).expand(len(value), *shape))]


def _average_pool(node: GraphNode, held: Held, asked: Sequence[int]) -> list[Held]:
    signal = node._saved_self
    if signal.ndim != 4:
        return one_by_one(node, held, asked)
    layout = memory_format(signal)
    result = torch.ops.aten.avg_pool2d_backward(
        held.value.flatten(0, 1).contiguous(memory_format=layout),
        _like(signal, len(held.value), layout),
        node._saved_kernel_size,
        node._saved_stride,
        node._saved_padding,
        node._saved_ceil_mode,
        node._saved_count_include_pad,
        node._saved_divisor_override,
    )
    return [Held(result.unflatten(0, (len(held.value), -1)), is_own=True)]


def _linear(node: GraphNode, held: Held, asked: Sequence[int]) -> list[Held]:
    if tuple(asked) != (1,) or node._saved_alpha != 1:
        return one_by_one(node, held, asked)
    return [Held(held.value @ node._saved_mat2.t(), is_own=True)]


def _rectified(node: GraphNode, held: Held, asked: Sequence[int]) -> list[Held]:  # noqa: ARG001
    return [Held(held.value.clamp(min=0), is_own=True)]


def one_by_one(node: GraphNode, held: Held, asked: Sequence[int]) -> list[Held]:
    """Ask the node itself, for one cotangent after the other."""
    answers = [node(cotangent) for cotangent in held.value]
    tuples = [answer if isinstance(answer, tuple) else (answer,) for answer in answers]
    return [Held(torch.stack([answer[position] for answer in tuples]), is_own=True) for position in asked]


def memory_format(tensor: torch.Tensor) -> torch.memory_format:
    """The layout in which pullbacks run fastest: on a CPU, convolutions of images with their channels last."""
    is_image = tensor.ndim == 4 and tensor.device.type == "cpu" and tensor.dtype is torch.float32
    return torch.channels_last if is_image else torch.contiguous_format


def _like(signal: torch.Tensor, classes: int, layout: torch.memory_format) -> torch.Tensor:
    """A tensor of which only shape and layout are read: a signal, once for each class."""
    shape = (classes * signal.shape[0], *signal.shape[1:])
    return torch.empty(shape, dtype=signal.dtype, device=signal.device, memory_format=layout)


def _axes(axes: Sequence[int], rank: int) -> list[int]:
    """Axes as a node keeps them: negative ones as unsigned numbers."""
    return [(axis - 2**64 if axis >= 2**63 else axis) % rank for axis in axes]


LOCAL: Mapping[str, Local] = MappingProxyType(
    {
        "AddBackward": _sum,
        "AddmmBackward": _linear,
        "AdaptiveAvgPool2DBackward": _adaptive_mean,
        "AvgPool2DBackward": _average_pool,
        "CatBackward": _concatenation,
        "CloneBackward": _same,
        "ConvolutionBackward": _convolution,
        "MeanBackward": _mean,
        "MulBackward": _product,
        "NativeBatchNormBackward": _batch_norm,
        "RectifiedCotangentBackward": _rectified,
        "ReluBackward": _relu,
        "ReshapeAliasBackward": _reshaping,
        "UnsafeViewBackward": _reshaping,
        "ViewBackward": _reshaping,
        "torch::autograd::CopyBackwards": _overwriting,
    }
)
"""By the name of a node, without the number of its variant."""
