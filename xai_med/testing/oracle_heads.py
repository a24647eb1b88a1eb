"""Where a blueprint's logits are, and what its classification head looks like."""

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.blueprints.blueprint import INPUT, Blueprint, Step
from xai_med.errors import NotApplicableError, TargetError
from xai_med.testing.oracle_forward import bias_of, forward


def logits_step(blueprint: Blueprint) -> str:
    """Name of the step whose output are the logits: the last one before a final sigmoid or softmax."""
    steps = {step.name: step for step in blueprint.steps}
    last = blueprint.steps[-1]
    while last.operation in ("sigmoid", "softmax"):
        last = steps[last.inputs[0]]
    return last.name


def coefficients_of(target: int | Array, logits: Array) -> Array:
    """State a class, or coefficients (K,) or (N, K), as coefficients (N, K)."""
    classes = logits.shape[1]
    if isinstance(target, np.ndarray):
        return np.broadcast_to(np.asarray(target, dtype=np.float64), logits.shape)
    if not 0 <= target < classes:
        raise TargetError(f"class {target} was asked for, the model has {classes} outputs (0..{classes - 1})")
    return np.broadcast_to(np.eye(classes)[target], logits.shape)


def class_maps(blueprint: Blueprint, images: Array) -> tuple[Array, Array, Array]:
    """Find the parts of class activation maps in a head of GAP and one linear layer.

    Returns
    -------
    features : ndarray of shape (N, C, *space)
        What enters the global average pool.
    weights : ndarray of shape (K, C)
    bias : ndarray of shape (K,)
        The logits are ``mean(features) @ weights.T + bias``. A linear layer may also be written as a
        1x1 convolution behind the pool; without either, features are the class maps, without the bias of the
        convolution that makes them, and weights the identity.

    Raises
    ------
    NotApplicableError
        The head is of another kind.

    References
    ----------
    Zhou et al. 2016, arXiv:1512.04150, section 2.
    """
    steps = {step.name: step for step in blueprint.steps}
    step = _behind_routing(steps, logits_step(blueprint))
    classifier: Step | None = None
    if step.operation == "linear" or _is_pointwise(step):
        classifier = step
        step = _behind_routing(steps, step.inputs[0])
    if step.operation != "global_average_pool":
        raise NotApplicableError(
            f"the head of {blueprint.name!r} has {step.operation} {step.name!r} where a global average pool "
            "would make class activation maps possible"
        )
    features = forward(blueprint, images)[step.inputs[0]]
    if classifier is None:
        maker = steps.get(step.inputs[0])
        bias = bias_of(maker) if maker is not None and maker.operation == "convolution" else np.zeros(features.shape[1])
        return features - bias.reshape(-1, *(1,) * (features.ndim - 2)), np.eye(features.shape[1]), bias
    weight = np.asarray(classifier.arrays["weight"], dtype=np.float64)
    return features, weight.reshape(len(weight), -1), bias_of(classifier)


def _behind_routing(steps: dict[str, Step], name: str) -> Step:
    while steps[name].operation in ("flatten", "dropout") and steps[name].inputs[0] != INPUT:
        name = steps[name].inputs[0]
    return steps[name]


def _is_pointwise(step: Step) -> bool:
    if step.operation != "convolution":
        return False
    kernel = step.arrays["weight"].shape[2:]
    return bool(np.prod(kernel) == 1) and step.options.get("groups", 1) == 1
