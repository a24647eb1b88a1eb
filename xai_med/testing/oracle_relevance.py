"""Slow LRP in NumPy float64, "EpsilonPlus" or by other rules: the classical pass, layer by layer.

References
----------
Bach et al. 2015, PLOS ONE 10(7):e0130140; Montavon et al. 2017, Pattern Recognition 65 (z+);
Kohlbrenner et al. 2020, arXiv:1910.09840 (epsilon on dense, z+ on convolutional layers).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.blueprints.blueprint import INPUT, Blueprint, Step
from xai_med.blueprints.validation import planned
from xai_med.errors import UnsupportedOperationError
from xai_med.testing.oracle_adjoint import pull_back
from xai_med.testing.oracle_forward import AffineMap, affine_map, forward, scale_and_shift
from xai_med.testing.oracle_heads import coefficients_of, logits_step
from xai_med.testing.oracle_rules import DenseRule, Layer, excitation_shares, excited_terms

_PASSED = ("relu", "silu", "batch_norm")
_ROUTED = ("max_pool", "global_max_pool", "concatenate", "flatten", "dropout")
_SHARED = ("linear", "average_pool", "global_average_pool")

FIRST = "first"
"""Key of the rule for what reads the image."""


def relevance(
    blueprint: Blueprint,
    images: Array,
    *,
    target: int | Array,
    epsilon: float = 1e-6,
    rules: Mapping[str, DenseRule] | None = None,
) -> Array:
    """Relevance of every input element, (N, C, *space); see `step_relevances`."""
    return step_relevances(blueprint, images, target=target, epsilon=epsilon, rules=rules)[INPUT]


def step_relevances(
    blueprint: Blueprint,
    images: Array,
    *,
    target: int | Array,
    epsilon: float = 1e-6,
    rules: Mapping[str, DenseRule] | None = None,
) -> dict[str, Array]:
    """Relevance of the input and of each step's output, by name.

    Parameters
    ----------
    images : ndarray of shape (N, C, *space)
    target : int or ndarray of shape (K,) or (N, K)
        A class, or a coefficient for each logit; the pass starts from coefficient times logit.
    epsilon : float
        Stabiliser of all rules, added with the sign of the denominator.
    rules : mapping of str to DenseRule or None
        Other rules than those below: for `FIRST`, for the name of a step, or for an operation, in this order.
        ``excitation_shares`` for ``"add"`` stands for shares in proportion to the terms' positive parts.

    Notes
    -----
    Convolution: z+ for signed input, positive bias in the denominator. Linear: epsilon rule, full bias in
    the denominator. Addition and average pools: epsilon rule with their own weights. Max pool: winner takes
    all. A batch norm behind a convolution is merged into it, which leaves no relevance at the convolution's
    own output; any other batch norm, ReLU and SiLU hand relevance on unchanged, except to an input that is
    exactly zero, which receives none. Multiplication: all to the larger signal, which the smaller one gates;
    half to each of two that are equally large.
    """
    values = forward(blueprint, images)
    steps = {step.name: step for step in blueprint.steps}
    arriving = {name: np.zeros_like(value) for name, value in values.items()}
    start = logits_step(blueprint)
    arriving[start] = coefficients_of(target, values[start]) * values[start]
    for plan in reversed(planned(blueprint)):
        step, incoming = plan.step, arriving[plan.step.name]
        if not incoming.any():
            continue
        convolved = _merged_convolution(step, steps)
        if convolved is not None:
            source = convolved.inputs[0]
            merged = _merge(affine_map(convolved, values[source].shape[1:]), step)
            rule = _rule(convolved, rules)
            if rule is None:
                share = _positive_shares(merged, values[source], incoming, epsilon)
            else:
                share = _dense_shares(rule, convolved, merged, values[source], incoming, epsilon)
            arriving[source] = arriving[source] + share
            continue
        rule, images_in = _rule(step, rules), values[step.inputs[0]]
        if rule is excitation_shares and step.operation == "add":
            shares = excited_terms([values[name] for name in step.inputs], incoming)
        elif rule is not None:
            affine = affine_map(step, images_in.shape[1:])
            shares = (_dense_shares(rule, step, affine, images_in, incoming, epsilon),)
        else:
            shares = _shares(step, values, incoming, epsilon)
        for name, share in zip(step.inputs, shares, strict=True):
            arriving[name] = arriving[name] + share
    return arriving


def _rule(step: Step, rules: Mapping[str, DenseRule] | None) -> DenseRule | None:
    keys = (FIRST, step.name, step.operation) if step.inputs[0] == INPUT else (step.name, step.operation)
    return None if rules is None else next((rules[key] for key in keys if key in rules), None)


def _dense_shares(
    rule: DenseRule, step: Step, affine: AffineMap, images: Array, incoming: Array, epsilon: float
) -> Array:
    """Relevance of a layer's inputs, image by image."""
    shape = images.shape[1:]
    connected = affine.matrix != 0
    if "weight" in step.arrays:
        ones = np.ones_like(step.arrays["weight"], dtype=np.float64)
        connected = affine_map(replace(step, arrays={**step.arrays, "weight": ones}), shape).matrix
    channel = np.repeat(np.arange(shape[0]), int(np.prod(shape[1:])))
    found = []
    for image, relevances in zip(images, incoming, strict=True):
        layer = Layer(image.ravel(), affine.matrix, connected, affine.bias, epsilon, channel)
        found.append((rule(layer) * relevances.reshape(-1, 1)).sum(axis=0).reshape(shape))
    return np.stack(found)


@dataclass(frozen=True)
class _Parts:
    positive: Array
    negative: Array


def _merged_convolution(step: Step, steps: dict[str, Step]) -> Step | None:
    if step.operation != "batch_norm" or step.inputs[0] == INPUT:
        return None
    before = steps[step.inputs[0]]
    return before if before.operation == "convolution" else None


def _merge(affine: AffineMap, norm: Step) -> AffineMap:
    cells = int(np.prod(affine.output_shape[1:]))
    scale, shift = (np.repeat(vector, cells) for vector in scale_and_shift(norm))
    return AffineMap(affine.matrix * scale[:, None], affine.bias * scale + shift, affine.output_shape)


def _shares(step: Step, values: dict[str, Array], incoming: Array, epsilon: float) -> tuple[Array, ...]:
    images = values[step.inputs[0]]
    if step.operation == "convolution":
        affine = affine_map(step, images.shape[1:])
        return (_positive_shares(affine, images, incoming, epsilon),)
    if step.operation in _SHARED:
        ratio = incoming / _stabilised(values[step.name], epsilon)
        matrix = affine_map(step, images.shape[1:]).matrix
        return (images * (ratio.reshape(len(images), -1) @ matrix).reshape(images.shape),)
    if step.operation == "add":
        ratio = incoming / _stabilised(values[step.name], epsilon)
        return tuple(values[name] * ratio for name in step.inputs)
    if step.operation == "multiply":
        ratio = values[step.name] / _stabilised(values[step.name], epsilon)
        return tuple(part * incoming * ratio for part in _parts_of_a_product(step, values))
    if step.operation in _PASSED:
        return (np.where(images == 0, 0.0, incoming),)  # a unit that is off has nothing to receive relevance for
    if step.operation in _ROUTED:
        return pull_back(step, values, incoming)
    raise UnsupportedOperationError(
        f"step {step.name!r} is {step.operation}, for which this oracle has no rule away from the output"
    )


def _parts_of_a_product(step: Step, values: dict[str, Array]) -> tuple[float, float]:
    """Nothing to a factor that is the same at several places, half to each of two equals."""
    sizes = [values[name][0].size for name in step.inputs]
    if sizes[0] == sizes[1]:
        return 0.5, 0.5
    return float(sizes[0] > sizes[1]), float(sizes[1] > sizes[0])


def _positive_shares(affine: AffineMap, images: Array, incoming: Array, epsilon: float) -> Array:
    activation = _split(images.reshape(len(images), -1))
    weight = _split(affine.matrix)
    parts = activation.positive @ weight.positive.T + activation.negative @ weight.negative.T
    ratio = incoming.reshape(len(images), -1) / (parts + np.maximum(affine.bias, 0.0) + epsilon)
    shares = activation.positive * (ratio @ weight.positive)
    shares += activation.negative * (ratio @ weight.negative)
    return np.asarray(shares.reshape(images.shape))


def _split(array: Array) -> _Parts:
    return _Parts(np.maximum(array, 0.0), np.minimum(array, 0.0))


def _stabilised(values: Array, epsilon: float) -> Array:
    return values + np.where(values >= 0, epsilon, -epsilon)
