"""Average pools whose derivative is right in float64.

Paddle's average pools divide by the size of the window in their forward pass, and multiply by its reciprocal, rounded
to float32, in their backward pass: gradients are wrong by up to 6e-8 of their size, also in float64.
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
import paddle

from xai_med.backend.tensors import Tensor
from xai_med_paddle.tensors import from_array


def exact_average_pool(
    function: Callable[..., Tensor], given: Mapping[str, Any], space: int, *args: Any, **kwargs: Any
) -> Tensor:
    """Pool, and correct the cotangent that comes back where it is float64.

    Parameters
    ----------
    function : callable
        Paddle's pool.
    given : mapping
        Its arguments by name.
    space : int
        Number of space axes.
    args, kwargs
        Its arguments as they should be passed on.
    """
    result = function(*args, **kwargs)
    if result.dtype == paddle.float64 and not result.stop_gradient:
        sizes = _window_sizes(function, given, space, tuple(result.shape[2:]))
        correction = (1.0 / sizes) / (1.0 / sizes).astype(np.float32).astype(np.float64)
        if (correction != 1.0).any():
            factor = from_array(correction[None, None], result.place)
            result.register_hook(lambda cotangent: cotangent * factor)
    return result


def _window_sizes(
    function: Callable[..., Tensor], given: Mapping[str, Any], space: int, shape: tuple[int, ...]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Divisor at each place of the result, of the result's space or of sizes 1."""
    old = tuple(given["x"].shape[2:])
    if "output_size" in given:
        sizes = np.ones((1,) * space)
        for axis, (before, after) in enumerate(zip(old, shape, strict=True)):
            index = np.arange(after)
            starts, ends = index * before // after, -(-(index + 1) * before // after)
            sizes = sizes * (ends - starts).reshape([-1 if other == axis else 1 for other in range(space)])
        return sizes
    kernel = given["kernel_size"]
    full = kernel**space if isinstance(kernel, int) else prod(kernel)
    if not given["exclusive"]:
        return np.full((1,) * space, float(full))
    plain = {"exclusive": False} | ({"divisor_override": None} if "divisor_override" in given else {})
    with paddle.no_grad():
        covered = function(**{**given, **plain, "x": paddle.ones([1, 1, *old], dtype="float64")})
    sizes = np.array(covered.numpy()[0, 0] * full)
    return np.rint(sizes)
