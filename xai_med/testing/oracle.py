"""Independent answers for the tiny networks: slow, dense, float64, no automatic differentiation."""

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.blueprints.blueprint import Blueprint
from xai_med.testing.oracle_adjoint import vector_jacobian
from xai_med.testing.oracle_forward import forward
from xai_med.testing.oracle_heads import class_maps, coefficients_of, logits_step
from xai_med.testing.oracle_relevance import relevance, step_relevances

__all__ = [
    "class_maps",
    "forward",
    "grad_cam",
    "logits_step",
    "relevance",
    "step_relevances",
    "vector_jacobian",
]


def grad_cam(blueprint: Blueprint, images: Array, *, layer: str, target: int | Array) -> Array:
    """Positive part of the activations weighted by their mean gradient, (N, *space).

    Parameters
    ----------
    layer : str
        Step whose output has space axes.
    target : int or ndarray of shape (K,) or (N, K)
        A class, or a coefficient for each logit.

    References
    ----------
    Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2.
    """
    start = logits_step(blueprint)
    values = forward(blueprint, images)
    cotangent = np.array(coefficients_of(target, values[start]))
    gradient = vector_jacobian(blueprint, images, of=start, cotangent=cotangent, to=layer)
    space = tuple(range(2, gradient.ndim))
    weights = gradient.mean(axis=space, keepdims=True)
    return np.asarray(np.maximum((weights * values[layer]).sum(axis=1), 0.0))
