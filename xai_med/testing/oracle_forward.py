"""Slow forward pass in NumPy float64: every linear operation is a dense matrix, filled entry by entry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.blueprints.blueprint import INPUT, Blueprint, Step
from xai_med.blueprints.validation import PlannedStep, options_of, planned
from xai_med.errors import ShapeError

LINEAR_OPERATIONS = ("convolution", "linear", "average_pool", "global_average_pool")
"""Operations that `affine_map` states as a matrix and a bias."""


@dataclass(frozen=True)
class AffineMap:
    """z = matrix a + bias for one flattened sample.

    Parameters
    ----------
    matrix : ndarray of shape (outputs, inputs)
    bias : ndarray of shape (outputs,)
    output_shape : tuple of int
        (C, *space) or (features,).
    """

    matrix: Array
    bias: Array
    output_shape: tuple[int, ...]


def forward(blueprint: Blueprint, images: Array) -> dict[str, Array]:
    """Give the input and the output of every step, by name, as float64 (N, C, *space) or (N, features)."""
    if images.shape[1:] != blueprint.input_shape:
        raise ShapeError(f"images are {images.shape[1:]} without the batch, not {blueprint.input_shape}")
    values = {INPUT: np.asarray(images, dtype=np.float64)}
    for plan in planned(blueprint):
        inputs = [values[name] for name in plan.step.inputs]
        values[plan.step.name] = _OPERATIONS[plan.step.operation](plan, *inputs)
    return values


def windows(
    space: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: int, dilation: int = 1
) -> tuple[tuple[int, ...], list[list[tuple[int, int]]]]:
    """List the cells under each position of a sliding window.

    Returns
    -------
    output_space : tuple of int
    cells : list with one entry per output position, row-major
        Pairs (index in the kernel, index in the input), both row-major; padding is left out.
    """
    output_space = tuple(
        (size + 2 * padding - dilation * (extent - 1) - 1) // stride + 1
        for size, extent in zip(space, kernel, strict=True)
    )
    cells = []
    for position in product(*map(range, output_space)):
        inside = []
        for index, offset in enumerate(product(*map(range, kernel))):
            place = [p * stride - padding + o * dilation for p, o in zip(position, offset, strict=True)]
            if all(0 <= at < size for at, size in zip(place, space, strict=True)):
                inside.append((index, int(np.ravel_multi_index(place, space))))
        cells.append(inside)
    return output_space, cells


def affine_map(step: Step, shape: tuple[int, ...]) -> AffineMap:
    """State one of `LINEAR_OPERATIONS`, on a sample of `shape`, as a dense matrix."""
    if step.operation == "convolution":
        return _convolution_map(step, shape)
    if step.operation == "average_pool":
        return _average_pool_map(step, shape)
    if step.operation == "global_average_pool":
        cells = int(np.prod(shape[1:]))
        ones = (1,) * (len(shape) - 1) if options_of(step)["style"] == "module" else ()
        matrix = np.kron(np.eye(shape[0]), np.full((1, cells), 1.0 / cells))
        return AffineMap(matrix, np.zeros(shape[0]), (shape[0], *ones))
    weight = np.asarray(step.arrays["weight"], dtype=np.float64)
    if shape != weight.shape[1:]:
        raise ShapeError(f"linear step {step.name!r} takes {weight.shape[1:]}, not {shape}; flatten first")
    return AffineMap(weight, bias_of(step), weight.shape[:1])


def bias_of(step: Step) -> Array:
    """Bias of a convolution or linear step; zeros where it has none."""
    outputs = len(step.arrays["weight"])
    return np.asarray(step.arrays.get("bias", np.zeros(outputs)), dtype=np.float64)


def scale_and_shift(step: Step) -> tuple[Array, Array]:
    """Factor and offset per channel that a batch norm with fixed statistics applies."""
    arrays = {name: np.asarray(array, dtype=np.float64) for name, array in step.arrays.items()}
    scale = arrays["weight"] / np.sqrt(arrays["running_var"] + options_of(step)["epsilon"])
    return scale, arrays["bias"] - arrays["running_mean"] * scale


def per_channel(vector: Array, like: Array) -> Array:
    """Shape (C,) as (C, 1, ...) so that it broadcasts against `like` (N, C, ...)."""
    return vector.reshape(-1, *(1,) * (like.ndim - 2))


def winners(step: Step, images: Array) -> tuple[Array, tuple[int, ...]]:
    """Find the first largest cell of each max-pool window.

    Returns
    -------
    index : ndarray of shape (N, C, positions)
        Into the flattened space of `images`.
    output_space : tuple of int
    """
    space = images.shape[2:]
    flat = images.reshape(*images.shape[:2], -1)
    if step.operation == "global_max_pool":
        return flat.argmax(axis=2)[:, :, None], (1,) * len(space)
    options = options_of(step)
    kernel = (options["kernel"],) * len(space)
    output_space, cells = windows(space, kernel, options["stride"], options["padding"])
    columns = []
    for inside in cells:
        candidates = np.array([at for _, at in inside])
        columns.append(candidates[flat[:, :, candidates].argmax(axis=2)])
    return np.stack(columns, axis=2), output_space


def _convolution_map(step: Step, shape: tuple[int, ...]) -> AffineMap:
    options = options_of(step)
    weight = np.asarray(step.arrays["weight"], dtype=np.float64)
    kernel = weight.shape[2:]
    full = _without_groups(weight.reshape(*weight.shape[:2], -1), options["groups"])
    output_space, cells = windows(shape[1:], kernel, options["stride"], options["padding"], options["dilation"])
    outputs, inputs = len(weight), shape[0]
    if full.shape[1] != inputs:
        raise ShapeError(f"convolution {step.name!r} takes {full.shape[1]} channels, not {inputs}")
    matrix = np.zeros((outputs, len(cells), inputs, int(np.prod(shape[1:]))))
    for position, inside in enumerate(cells):
        for index, at in inside:
            matrix[:, position, :, at] = full[:, :, index]
    flat = matrix.reshape(outputs * len(cells), -1)
    return AffineMap(flat, np.repeat(bias_of(step), len(cells)), (outputs, *output_space))


def _without_groups(weight: Array, groups: int) -> Array:
    outputs, per_group, cells = weight.shape
    full = np.zeros((outputs, per_group * groups, cells))
    for output in range(outputs):
        first = (output // (outputs // groups)) * per_group
        full[output, first : first + per_group] = weight[output]
    return full


def _average_pool_map(step: Step, shape: tuple[int, ...]) -> AffineMap:
    options = options_of(step)
    kernel = (options["kernel"],) * (len(shape) - 1)
    output_space, cells = windows(shape[1:], kernel, options["stride"], options["padding"])
    pool = np.zeros((len(cells), int(np.prod(shape[1:]))))
    for position, inside in enumerate(cells):
        for _, at in inside:
            pool[position, at] = 1.0 / np.prod(kernel)  # padding counts in the divisor
    matrix = np.kron(np.eye(shape[0]), pool)
    return AffineMap(matrix, np.zeros(len(matrix)), (shape[0], *output_space))


def _affine(plan: PlannedStep, images: Array) -> Array:
    affine = affine_map(plan.step, images.shape[1:])
    flat = images.reshape(len(images), -1) @ affine.matrix.T + affine.bias
    return flat.reshape(len(images), *affine.output_shape)


def _batch_norm(plan: PlannedStep, images: Array) -> Array:
    scale, shift = scale_and_shift(plan.step)
    return images * per_channel(scale, images) + per_channel(shift, images)


def _max_pool(plan: PlannedStep, images: Array) -> Array:
    index, output_space = winners(plan.step, images)
    flat = images.reshape(*images.shape[:2], -1)
    return np.take_along_axis(flat, index, axis=2).reshape(*images.shape[:2], *output_space)


def sigmoid(values: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)))


def softmax(values: Array) -> Array:
    """Exponentials along axis 1, divided by their sum."""
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


_OPERATIONS: Mapping[str, Callable[..., Array]] = {
    **dict.fromkeys(LINEAR_OPERATIONS, _affine),
    "batch_norm": _batch_norm,
    "relu": lambda _, images: np.maximum(images, 0.0),
    "silu": lambda _, images: images * sigmoid(images),
    "sigmoid": lambda _, values: sigmoid(values),
    "softmax": lambda _, values: softmax(values),
    "max_pool": _max_pool,
    "global_max_pool": _max_pool,
    "flatten": lambda _, images: images.reshape(len(images), -1),
    "concatenate": lambda _, *images: np.concatenate(images, axis=1),
    "add": lambda _, left, right: left + right,
    "multiply": lambda _, left, right: left * right,
    "dropout": lambda _, images: images,
}
