"""Tiny networks after ResNet and DenseNet: additions, concatenations, in-place operations."""

import numpy as np

from xai_med.blueprints.blueprint import INPUT, Blueprint, Step
from xai_med.testing.network_layers import batch_norm, convolution, linear, plain


def resnet_like(*, bias_free: bool = False) -> Blueprint:
    """Two residual blocks with in-place additions and ReLUs; the second halves the size.

    Without biases LRP conserves exactly. For that, convolutions that end in the addition have positive
    weights: a unit that has no positive part but a negative output would swallow its relevance.
    """
    generator = np.random.default_rng(2)
    stem = convolution(generator, "conv1", INPUT, (6, 3, 3, 3), padding=1, bias=not bias_free)
    steps = [
        stem,
        batch_norm(generator, "norm1", "conv1", 6, centred=bias_free),
        plain("relu1", "relu", "norm1", style="in_place"),
        *_residual_block(generator, "a", "relu1", (6, 6), 1, bias_free),
        *_residual_block(generator, "b", "a_out", (8, 6), 2, bias_free),
        plain("pool", "global_average_pool", "b_out", style="module"),
        plain("flat", "flatten", "pool"),
        linear(generator, "classifier", "flat", (4, 8), bias=not bias_free),
    ]
    return Blueprint("bias_free_resnet" if bias_free else "resnet_like", (3, 10, 8), tuple(steps))


def densenet_like(*, bias_free: bool = False) -> Blueprint:
    """Two dense blocks with bottlenecks, an average-pool transition, a functional ReLU and a mean.

    Without biases LRP conserves exactly; the transition's weights are positive then, see `resnet_like`.
    """
    generator = np.random.default_rng(3)
    steps = [
        convolution(generator, "conv0", INPUT, (4, 2, 3, 3), padding=1, bias=False),
        batch_norm(generator, "norm0", "conv0", 4, centred=bias_free),
        plain("relu0", "relu", "norm0", style="in_place"),
        *_dense_layer(generator, "a1", ("relu0",), 4, bias_free),
        *_dense_layer(generator, "a2", ("relu0", "a1_conv2"), 7, bias_free),
        plain("a_out", "concatenate", "relu0", "a1_conv2", "a2_conv2"),
        batch_norm(generator, "t_norm", "a_out", 10, centred=bias_free),
        plain("t_relu", "relu", "t_norm", style="in_place"),
        convolution(generator, "t_conv", "t_relu", (5, 10, 1, 1), bias=False, positive=bias_free),
        plain("t_pool", "average_pool", "t_conv", kernel=2, stride=2),
        *_dense_layer(generator, "b1", ("t_pool",), 5, bias_free),
        plain("b_out", "concatenate", "t_pool", "b1_conv2"),
        batch_norm(generator, "norm5", "b_out", 8, centred=bias_free),
        plain("relu5", "relu", "norm5", style="functional"),
        plain("pool", "global_average_pool", "relu5", style="mean"),
        linear(generator, "classifier", "pool", (4, 8), bias=not bias_free),
    ]
    return Blueprint("bias_free_densenet" if bias_free else "densenet_like", (2, 12, 9), tuple(steps))


def _residual_block(
    generator: np.random.Generator,
    name: str,
    source: str,
    channels: tuple[int, int],
    stride: int,
    bias_free: bool,
) -> tuple[Step, ...]:
    outputs, inputs = channels
    body = (
        convolution(generator, f"{name}_conv1", source, (outputs, inputs, 3, 3), bias=False, stride=stride, padding=1),
        batch_norm(generator, f"{name}_norm1", f"{name}_conv1", outputs, centred=bias_free),
        plain(f"{name}_relu1", "relu", f"{name}_norm1", style="in_place"),
        convolution(
            generator,
            f"{name}_conv2",
            f"{name}_relu1",
            (outputs, outputs, 3, 3),
            bias=False,
            positive=bias_free,
            padding=1,
        ),
        batch_norm(generator, f"{name}_norm2", f"{name}_conv2", outputs, centred=bias_free),
    )
    shortcut = _shortcut(generator, name, source, channels, stride, bias_free) if stride != 1 else ()
    other = f"{name}_down_norm" if shortcut else source
    return (
        *body,
        *shortcut,
        plain(f"{name}_sum", "add", f"{name}_norm2", other, style="in_place"),
        plain(f"{name}_out", "relu", f"{name}_sum", style="in_place"),
    )


def _shortcut(
    generator: np.random.Generator,
    name: str,
    source: str,
    channels: tuple[int, int],
    stride: int,
    bias_free: bool,
) -> tuple[Step, ...]:
    shape = (*channels, 1, 1)
    return (
        convolution(generator, f"{name}_down", source, shape, bias=False, positive=bias_free, stride=stride),
        batch_norm(generator, f"{name}_down_norm", f"{name}_down", channels[0], centred=bias_free),
    )


def _dense_layer(
    generator: np.random.Generator, name: str, sources: tuple[str, ...], channels: int, bias_free: bool
) -> tuple[Step, ...]:
    return (
        plain(f"{name}_in", "concatenate", *sources),
        batch_norm(generator, f"{name}_norm1", f"{name}_in", channels, centred=bias_free),
        plain(f"{name}_relu1", "relu", f"{name}_norm1", style="in_place"),
        convolution(generator, f"{name}_conv1", f"{name}_relu1", (6, channels, 1, 1), bias=False),
        batch_norm(generator, f"{name}_norm2", f"{name}_conv1", 6, centred=bias_free),
        plain(f"{name}_relu2", "relu", f"{name}_norm2", style="in_place"),
        convolution(generator, f"{name}_conv2", f"{name}_relu2", (3, 6, 3, 3), bias=False, padding=1),
    )
