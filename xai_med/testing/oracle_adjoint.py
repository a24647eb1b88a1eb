"""Slow reverse pass in NumPy float64, each operation with a hand-written adjoint."""

from collections.abc import Callable, Mapping

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.blueprints.blueprint import INPUT, Blueprint, Step
from xai_med.blueprints.validation import planned
from xai_med.errors import SettingError, ShapeError, UnknownNameError
from xai_med.testing.oracle_forward import (
    LINEAR_OPERATIONS,
    affine_map,
    forward,
    per_channel,
    scale_and_shift,
    sigmoid,
    softmax,
    winners,
)

RELU_RULES: Mapping[str, Callable[[Array, Array], Array]] = {
    "mask": lambda cotangent, images: cotangent * (images > 0),
    "identity": lambda cotangent, _: cotangent,
    "deconv": lambda cotangent, _: np.maximum(cotangent, 0.0),
    "guided": lambda cotangent, images: np.maximum(cotangent, 0.0) * (images > 0),
}
"""Cotangent that leaves a ReLU backwards, from the one that arrives and the ReLU's input."""


def vector_jacobian(
    blueprint: Blueprint,
    images: Array,
    *,
    of: str,
    cotangent: Array,
    to: str = INPUT,
    relu: str = "mask",
) -> Array:
    """Multiply a cotangent at step `of` with the Jacobian with respect to step `to`.

    Parameters
    ----------
    images : ndarray of shape (N, C, *space)
    of : str
        Step whose output is differentiated.
    cotangent : ndarray
        In the shape of that output.
    to : str
        Step with respect to whose output is differentiated, or ``"input"``.
    relu : str
        One of `RELU_RULES`; anything but ``"mask"`` gives a modified adjoint.
    """
    if relu not in RELU_RULES:
        raise SettingError(f"relu is {relu!r}; use one of {list(RELU_RULES)}")
    values = forward(blueprint, images)
    unknown = {of, to} - set(values)
    if unknown:
        raise UnknownNameError(f"blueprint {blueprint.name!r} has no step {sorted(unknown)}")
    if cotangent.shape != values[of].shape:
        raise ShapeError(f"the cotangent is {cotangent.shape}, the output of {of!r} is {values[of].shape}")
    arriving = {name: np.zeros_like(value) for name, value in values.items()}
    arriving[of] = np.asarray(cotangent, dtype=np.float64)
    for plan in reversed(planned(blueprint)):
        step = plan.step
        if step.name == to:
            break
        shares = pull_back(step, values, arriving[step.name], relu=relu)
        for name, share in zip(step.inputs, shares, strict=True):
            arriving[name] = arriving[name] + share
    return arriving[to]


def pull_back(step: Step, values: Mapping[str, Array], cotangent: Array, *, relu: str = "mask") -> tuple[Array, ...]:
    """Apply the adjoint of one step: a cotangent for each of its inputs."""
    inputs = [values[name] for name in step.inputs]
    images = inputs[0]
    if step.operation == "concatenate":
        borders = np.cumsum([each.shape[1] for each in inputs])[:-1]
        return tuple(np.split(cotangent, borders, axis=1))
    if step.operation == "add":
        return tuple(_summed_to(cotangent, each) for each in inputs)
    if step.operation == "multiply":
        left, right = inputs
        return _summed_to(cotangent * right, left), _summed_to(cotangent * left, right)
    if step.operation in LINEAR_OPERATIONS:
        matrix = affine_map(step, images.shape[1:]).matrix
        return ((cotangent.reshape(len(images), -1) @ matrix).reshape(images.shape),)
    if step.operation == "batch_norm":
        return (cotangent * per_channel(scale_and_shift(step)[0], images),)
    if step.operation in ("max_pool", "global_max_pool"):
        return (unpooled(step, images, cotangent),)
    if step.operation == "relu":
        return (RELU_RULES[relu](cotangent, images),)
    if step.operation in ("flatten", "dropout"):
        return (cotangent.reshape(images.shape),)
    return (_smooth(step.operation, images, cotangent),)


def unpooled(step: Step, images: Array, cotangent: Array) -> Array:
    """Send what arrives at each max-pool window to its first largest cell."""
    index, _ = winners(step, images)
    routed = np.zeros((*images.shape[:2], int(np.prod(images.shape[2:]))))
    arriving = cotangent.reshape(index.shape)
    for sample, channel, position in np.ndindex(*index.shape):
        routed[sample, channel, index[sample, channel, position]] += arriving[sample, channel, position]
    return routed.reshape(images.shape)


def _smooth(operation: str, values: Array, cotangent: Array) -> Array:
    if operation == "softmax":
        shares = softmax(values)
        return np.asarray(shares * (cotangent - (cotangent * shares).sum(axis=1, keepdims=True)))
    gate = sigmoid(values)
    slope = gate * (1.0 - gate)
    return np.asarray(cotangent * (gate + values * slope if operation == "silu" else slope))


def _summed_to(cotangent: Array, like: Array) -> Array:
    stretched = tuple(axis for axis, size in enumerate(like.shape) if size != cotangent.shape[axis])
    return np.asarray(cotangent.sum(axis=stretched, keepdims=True)) if stretched else cotangent
