"""Networks small enough to be computed on paper, for the worked examples of the methods."""

from typing import Any

import numpy as np

from xai_med import Explanation, explain
from xai_med.blueprints import Blueprint, Step
from xai_med.testing.network_layers import plain


def pointwise(name: str, source: str, weight: Any, bias: Any = None, *, space: int = 2, **options: int) -> Step:
    """A convolution of kernel size 1; `weight` is (out, in)."""
    matrix = np.array(weight, dtype=np.float64)
    arrays = {"weight": matrix.reshape(*matrix.shape, *(1,) * space)}
    if bias is not None:
        arrays["bias"] = np.array(bias, dtype=np.float64)
    return Step(name, "convolution", (source,), arrays, options)


def dense(name: str, source: str, weight: Any, bias: Any = None) -> Step:
    """A fully connected layer; `weight` is (out, in)."""
    arrays = {"weight": np.array(weight, dtype=np.float64)}
    if bias is not None:
        arrays["bias"] = np.array(bias, dtype=np.float64)
    return Step(name, "linear", (source,), arrays)


def norm(name: str, source: str, *, scale: float, shift: float, mean: float, variance: float) -> Step:
    """A batch norm of one channel whose epsilon is zero."""
    values = {"weight": scale, "bias": shift, "running_mean": mean, "running_var": variance}
    arrays = {key: np.array([value], dtype=np.float64) for key, value in values.items()}
    return Step(name, "batch_norm", (source,), arrays, {"epsilon": 0.0})


def network(*steps: Step, shape: tuple[int, ...] = (2, 1, 1)) -> Blueprint:
    """The steps, which end in logits."""
    return Blueprint("paper", shape, steps)


def pixel(*channels: float) -> np.ndarray:
    """One image of one pixel."""
    return np.array(channels, dtype=np.float64).reshape(1, -1, 1, 1)


def pooled(weight: Any, shape: tuple[int, ...], *, bias: Any = None) -> Blueprint:
    """The input itself as features (a convolution with weight one and a ReLU), then GAP and a linear layer."""
    space = len(shape) - 1
    return network(
        pointwise("same", "input", np.eye(shape[0]), space=space),
        plain("features", "relu", "same"),
        plain("pool", "global_average_pool", "features", style="mean"),
        dense("head", "pool", weight, bias),
        shape=shape,
    )


def explained(backend: Any, blueprint: Blueprint, images: np.ndarray, **asked: Any) -> Explanation:
    """Explain a blueprint, built in float64, on a backend; all classes by default."""
    return explain(backend.build(blueprint, dtype="float64"), images.astype(np.float64), **{"target": "all", **asked})
