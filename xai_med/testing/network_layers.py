"""Steps with random weights, of which the tiny test networks are made."""

from typing import Any

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.blueprints.blueprint import Step


def rounded(values: Array) -> Array:
    """Round float64 to values that float32 holds exactly, so that both widths see the same network."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def plain(name: str, operation: str, *inputs: str, **options: Any) -> Step:
    """Make a step without weights."""
    return Step(name, operation, inputs, options=options)


def convolution(
    generator: np.random.Generator,
    name: str,
    source: str,
    shape: tuple[int, ...],
    *,
    bias: bool = True,
    positive: bool = False,
    **options: int,
) -> Step:
    """Make a convolution whose weight has `shape` (out, in / groups, *kernel)."""
    fan_in = int(np.prod(shape[1:]))
    weight = rounded(generator.normal(0.0, 1.5 / np.sqrt(fan_in), shape))
    arrays = {"weight": np.abs(weight) if positive else weight}
    if bias:
        arrays["bias"] = rounded(generator.normal(0.1, 0.4, shape[0]))
    return Step(name, "convolution", (source,), arrays, options)


def linear(
    generator: np.random.Generator, name: str, source: str, sizes: tuple[int, int], *, bias: bool = True
) -> Step:
    """Make a fully connected layer; `sizes` is (outputs, inputs)."""
    arrays = {"weight": rounded(generator.normal(0.0, 1.5 / np.sqrt(sizes[1]), sizes))}
    if bias:
        arrays["bias"] = rounded(generator.normal(0.0, 0.4, sizes[0]))
    return Step(name, "linear", (source,), arrays)


def batch_norm(generator: np.random.Generator, name: str, source: str, channels: int, *, centred: bool = False) -> Step:
    """Make a batch norm with odd statistics.

    With `centred`, beta and the running mean are zero and gamma is positive, so that it only scales.
    """
    gamma = rounded(generator.normal(0.0, 1.0, channels) + 0.3)
    beta = rounded(generator.normal(0.1, 0.5, channels))
    mean = rounded(generator.normal(0.0, 0.5, channels))
    variance = rounded(generator.uniform(0.2, 3.0, channels))
    arrays = {"weight": gamma, "bias": beta, "running_mean": mean, "running_var": variance}
    if centred:
        zeros = np.zeros(channels)
        arrays |= {"weight": rounded(np.abs(gamma) + 0.2), "bias": zeros, "running_mean": zeros}
    # a power of two: Paddle keeps epsilon as a float32
    return Step(name, "batch_norm", (source,), arrays, {"epsilon": 2.0**-10})
