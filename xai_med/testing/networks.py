"""Tiny networks, stated once as arrays, that cover the ways in which real ones are written."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.blueprints.blueprint import INPUT, Blueprint, Step
from xai_med.testing.deep_networks import densenet_like, resnet_like
from xai_med.testing.network_layers import batch_norm, convolution, linear, plain


def example_input(blueprint: Blueprint, count: int = 2, seed: int = 0) -> Array:
    """Draw signed images (N, C, *space), float32, as after subtraction of a mean."""
    generator = np.random.default_rng(seed)
    return generator.normal(0.0, 1.0, (count, *blueprint.input_shape)).astype(np.float32)


def vgg_like(ending: str | None = None, name: str = "vgg_like") -> Blueprint:
    """Plain network: batch norm, overlapping max pool, GAP, dropout, linear; `ending` is an activation."""
    generator = np.random.default_rng(1)
    steps = [
        convolution(generator, "conv1", INPUT, (4, 3, 3, 3), padding=1),
        batch_norm(generator, "norm1", "conv1", 4),
        plain("relu1", "relu", "norm1", style="module"),
        plain("pool1", "max_pool", "relu1", kernel=3, stride=2, padding=1),
        convolution(generator, "conv2", "pool1", (5, 4, 3, 3), padding=1),
        plain("relu2", "relu", "conv2", style="functional"),
        *_pooled_head(generator, "relu2", 5, 3),
    ]
    if ending is not None:
        steps.append(plain("ending", ending, "classifier"))
    return Blueprint(name, (3, 11, 9), tuple(steps))


def grouped() -> Blueprint:
    """Strided, grouped, depthwise and dilated convolutions, and a padded average pool."""
    generator = np.random.default_rng(4)
    steps = (
        convolution(generator, "conv1", INPUT, (6, 2, 3, 3), stride=2, padding=1),
        plain("relu1", "relu", "conv1", style="functional"),
        convolution(generator, "conv2", "relu1", (4, 3, 3, 3), padding=1, groups=2),
        plain("relu2", "relu", "conv2", style="module"),
        plain("pool2", "average_pool", "relu2", kernel=3, stride=1, padding=1),
        convolution(generator, "conv3", "pool2", (4, 1, 3, 3), padding=2, dilation=2, groups=4, bias=False),
        batch_norm(generator, "norm3", "conv3", 4),
        plain("relu3", "relu", "norm3", style="in_place"),
        *_pooled_head(generator, "relu3", 4, 3),
    )
    return Blueprint("grouped", (2, 13, 10), steps)


def fully_connected_head() -> Blueprint:
    """Flatten and two linear layers: no global pool, so neither CAM nor class maps exist."""
    generator = np.random.default_rng(5)
    steps = (
        convolution(generator, "conv1", INPUT, (3, 1, 3, 3)),
        plain("relu1", "relu", "conv1", style="module"),
        plain("pool1", "max_pool", "relu1", kernel=2, stride=2),
        plain("flat", "flatten", "pool1"),
        linear(generator, "hidden", "flat", (5, 36)),
        plain("relu2", "relu", "hidden", style="module"),
        linear(generator, "classifier", "relu2", (3, 5)),
    )
    return Blueprint("fully_connected_head", (1, 8, 10), steps)


def hidden_layer_head() -> Blueprint:
    """GAP and two linear layers with a ReLU between."""
    generator = np.random.default_rng(6)
    steps = (
        *_small_body(generator),
        plain("pool", "global_average_pool", "relu1", style="module"),
        plain("flat", "flatten", "pool"),
        linear(generator, "hidden", "flat", (6, 5)),
        plain("relu2", "relu", "hidden", style="functional"),
        linear(generator, "classifier", "relu2", (3, 6)),
    )
    return Blueprint("hidden_layer_head", (2, 9, 8), steps)


def max_pool_head() -> Blueprint:
    """Global max pool instead of GAP."""
    generator = np.random.default_rng(7)
    steps = (
        *_small_body(generator),
        plain("pool", "global_max_pool", "relu1"),
        plain("flat", "flatten", "pool"),
        linear(generator, "classifier", "flat", (3, 5)),
    )
    return Blueprint("max_pool_head", (2, 9, 8), steps)


def convolution_head() -> Blueprint:
    """GAP that keeps its axes, then a 1x1 convolution as classifier."""
    generator = np.random.default_rng(8)
    steps = (
        *_small_body(generator),
        plain("pool", "global_average_pool", "relu1", style="module"),
        convolution(generator, "classifier", "pool", (3, 5, 1, 1)),
        plain("flat", "flatten", "classifier"),
    )
    return Blueprint("convolution_head", (2, 9, 8), steps)


def class_kernels() -> Blueprint:
    """One kernel per class in the last convolution, then GAP, as in CLEAR's networks."""
    generator = np.random.default_rng(9)
    steps = (
        *_small_body(generator),
        plain("pool1", "max_pool", "relu1", kernel=2, stride=2),
        convolution(generator, "classes", "pool1", (4, 5, 3, 3), padding=1),
        plain("pool", "global_average_pool", "classes", style="module"),
        plain("flat", "flatten", "pool"),
    )
    return Blueprint("class_kernels", (2, 9, 8), steps)


def signal() -> Blueprint:
    """One space axis, as in an electrocardiogram."""
    generator = np.random.default_rng(10)
    steps = (
        convolution(generator, "conv1", INPUT, (4, 2, 5), padding=2),
        batch_norm(generator, "norm1", "conv1", 4),
        plain("relu1", "relu", "norm1", style="module"),
        plain("pool1", "max_pool", "relu1", kernel=3, stride=2),
        convolution(generator, "conv2", "pool1", (5, 4, 3), padding=1),
        plain("relu2", "relu", "conv2", style="functional"),
        plain("pool2", "average_pool", "relu2", kernel=2, stride=1, padding=1),
        *_pooled_head(generator, "pool2", 5, 3),
    )
    return Blueprint("signal", (2, 13), steps)


def volume() -> Blueprint:
    """Three space axes of three sizes, as in computed tomography."""
    generator = np.random.default_rng(11)
    steps = (
        convolution(generator, "conv1", INPUT, (3, 1, 3, 3, 3), padding=1),
        batch_norm(generator, "norm1", "conv1", 3),
        plain("relu1", "relu", "norm1", style="in_place"),
        plain("pool1", "max_pool", "relu1", kernel=2, stride=2),
        convolution(generator, "conv2", "pool1", (4, 3, 2, 2, 2), padding=1),
        plain("relu2", "relu", "conv2", style="functional"),
        plain("pool2", "average_pool", "relu2", kernel=2, stride=1),
        plain("pool", "global_average_pool", "pool2", style="mean"),
        linear(generator, "classifier", "pool", (3, 4)),
    )
    return Blueprint("volume", (1, 6, 8, 5), steps)


def single_logit() -> Blueprint:
    """One output, as of a network that answers yes or no."""
    generator = np.random.default_rng(12)
    steps = (*_small_body(generator), *_pooled_head(generator, "relu1", 5, 1))
    return Blueprint("single_logit", (2, 9, 8), steps)


def forked() -> Blueprint:
    """Convolution read by its batch norm and, unmerged, by an addition; both see negative values."""
    generator = np.random.default_rng(14)
    steps = (
        convolution(generator, "conv1", INPUT, (4, 2, 3, 3), padding=1),
        batch_norm(generator, "norm1", "conv1", 4),
        plain("sum1", "add", "norm1", "conv1", style="operator"),
        plain("pool1", "max_pool", "sum1", kernel=2, stride=1, padding=1),
        batch_norm(generator, "norm2", "pool1", 4),
        plain("relu2", "relu", "norm2", style="functional"),
        *_pooled_head(generator, "relu2", 4, 3),
    )
    return Blueprint("forked", (2, 9, 8), steps)


def smooth() -> Blueprint:
    """SiLU instead of ReLU: every derivative exists."""
    generator = np.random.default_rng(13)
    steps = (
        convolution(generator, "conv1", INPUT, (4, 2, 3, 3), padding=1),
        plain("silu1", "silu", "conv1"),
        convolution(generator, "conv2", "silu1", (5, 4, 3, 3), stride=2, padding=1),
        plain("silu2", "silu", "conv2"),
        *_pooled_head(generator, "silu2", 5, 3),
    )
    return Blueprint("smooth", (2, 9, 8), steps)


def _small_body(generator: np.random.Generator) -> tuple[Step, ...]:
    return (
        convolution(generator, "conv1", INPUT, (5, 2, 3, 3), padding=1),
        plain("relu1", "relu", "conv1", style="module"),
    )


def _pooled_head(generator: np.random.Generator, source: str, channels: int, classes: int) -> tuple[Step, ...]:
    return (
        plain("pool", "global_average_pool", source, style="module"),
        plain("flat", "flatten", "pool"),
        plain("drop", "dropout", "flat", probability=0.5),
        linear(generator, "classifier", "drop", (classes, channels)),
    )


NETWORKS: Mapping[str, Callable[[], Blueprint]] = MappingProxyType(
    {
        "vgg_like": vgg_like,
        "resnet_like": resnet_like,
        "densenet_like": densenet_like,
        "grouped": grouped,
        "fully_connected_head": fully_connected_head,
        "hidden_layer_head": hidden_layer_head,
        "max_pool_head": max_pool_head,
        "convolution_head": convolution_head,
        "class_kernels": class_kernels,
        "signal": signal,
        "volume": volume,
        "single_logit": single_logit,
        "sigmoid_output": partial(vgg_like, "sigmoid", "sigmoid_output"),
        "softmax_output": partial(vgg_like, "softmax", "softmax_output"),
        "bias_free_resnet": partial(resnet_like, bias_free=True),
        "bias_free_densenet": partial(densenet_like, bias_free=True),
        "forked": forked,
        "smooth": smooth,
    }
)
"""Every tiny network by name; each call gives an equal blueprint."""
