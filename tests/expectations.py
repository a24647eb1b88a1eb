"""The oracles' answers for every class of the tiny networks: computed once, asked for by every framework."""

from functools import cache

import numpy as np

from xai_med.errors import NotApplicableError
from xai_med.testing import NETWORKS, example_input, oracle

IMAGES = 3


def images(name):
    """The images (N, C, *space) of all expectations about one network."""
    return example_input(NETWORKS[name](), IMAGES)


@cache
def values(name):
    """Every step's output."""
    return oracle.forward(NETWORKS[name](), images(name))


@cache
def logits(name):
    """(N, K)."""
    return values(name)[oracle.logits_step(NETWORKS[name]())]


@cache
def class_maps(name):
    """Class activation maps (N, K, *space), or None where the head has none."""
    try:
        features, weights, _ = oracle.class_maps(NETWORKS[name](), images(name))
    except NotApplicableError:
        return None
    return np.einsum("nc...,kc->nk...", features, weights)


@cache
def gradients(name):
    """Gradient of each logit, (N, K, C, *space)."""
    blueprint = NETWORKS[name]()
    repeated, chosen = _every_class(name)
    found = oracle.vector_jacobian(blueprint, repeated, of=oracle.logits_step(blueprint), cotangent=chosen)
    return _by_class(name, found)


@cache
def grad_cam(name, layer, *, relu):
    """Grad-CAM of each logit, (N, K, *layer space); without ReLU: that of a score minus that of its negation."""
    blueprint = NETWORKS[name]()
    repeated, chosen = _every_class(name)
    positive = oracle.grad_cam(blueprint, repeated, layer=layer, target=chosen)
    if relu:
        return _by_class(name, positive)
    return _by_class(name, positive - oracle.grad_cam(blueprint, repeated, layer=layer, target=-chosen))


@cache
def relevances(name, epsilon=1e-6):
    """Relevance of each logit, (N, K, C, *space)."""
    repeated, chosen = _every_class(name)
    return _by_class(name, oracle.relevance(NETWORKS[name](), repeated, target=chosen, epsilon=epsilon))


@cache
def back_projections(name, relu="mask", psi="relu"):
    """Each class's own map (or logit, where it has none) sent back to the input, (N, K, C, *space); METHODS 5.2."""
    blueprint = NETWORKS[name]()
    repeated, chosen = _every_class(name)
    rectified = (lambda signal: np.maximum(signal, 0)) if psi == "relu" else (lambda signal: signal)
    maps = class_maps(name)
    if maps is None:
        start = oracle.logits_step(blueprint)
        cotangent = chosen * rectified(np.repeat(logits(name), logits(name).shape[1], axis=0))
    else:
        start = pooled_step(name)
        weights = np.tile(oracle.class_maps(blueprint, images(name))[1], (IMAGES, 1))
        flat = rectified(maps).reshape(-1, *maps.shape[2:])
        cotangent = np.einsum("nc,n...->nc...", weights, flat)
    return _by_class(name, oracle.vector_jacobian(blueprint, repeated, of=start, cotangent=cotangent, relu=relu))


def pooled_step(name):
    """Name of the step whose output enters the global average pool."""
    return next(step for step in NETWORKS[name]().steps if step.operation == "global_average_pool").inputs[0]


def _every_class(name):
    """Each image once per class, and the coefficients that choose its class: (N K, C, *space) and (N K, K)."""
    classes = logits(name).shape[1]
    return np.repeat(images(name), classes, axis=0), np.tile(np.eye(classes), (IMAGES, 1))


def _by_class(name, array):
    return array.reshape(IMAGES, logits(name).shape[1], *array.shape[1:])
