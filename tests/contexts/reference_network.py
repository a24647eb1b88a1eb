"""One small network, stated as numbers, and what every method must answer for it: dense matrices, no framework."""

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from xai_med.blueprints.blueprint import INPUT, Blueprint, Step
from xai_med.testing import oracle
from xai_med.testing.network_layers import batch_norm, convolution, linear, plain

METHODS = ("cam", "grad_cam", "gradient", "lrp", "clear")
BACKWARD = ("gradient", "lrp", "clear")
"""Methods whose derivatives go back through the whole network."""
TARGET = 1
SPACE = (9, 7)


@cache
def reference() -> Blueprint:
    """Convolution, batch norm, ReLU, max pool, convolution of equal width, ReLU, global mean, linear."""
    generator = np.random.default_rng(21)
    steps = (
        convolution(generator, "conv1", INPUT, (4, 2, 3, 3), padding=1),
        batch_norm(generator, "norm", "conv1", 4),
        plain("relu1", "relu", "norm"),
        plain("pool", "max_pool", "relu1", kernel=2, stride=2),
        convolution(generator, "conv2", "pool", (4, 4, 3, 3), padding=1),
        plain("relu2", "relu", "conv2"),
        plain("mean", "global_average_pool", "relu2", style="mean"),
        linear(generator, "fc", "mean", (3, 4)),
    )
    return Blueprint("reference", (2, *SPACE), steps)


@cache
def run_twice() -> Blueprint:
    """The same with its second convolution and ReLU run twice."""
    *body, _, fc = reference().steps
    again = Step("conv2 again", "convolution", ("relu2",), body[4].arrays, body[4].options)
    relu = plain("relu2 again", "relu", "conv2 again")
    mean = plain("mean", "global_average_pool", "relu2 again", style="mean")
    return Blueprint("run twice", (2, *SPACE), (*body, again, relu, mean, fc))


@cache
def spectrally_normalised() -> Blueprint:
    """The same with the weights of its second convolution and head divided by their largest singular value."""
    return Blueprint("spectrally normalised", (2, *SPACE), tuple(map(_normalised, reference().steps)))


def _normalised(step: Step) -> Step:
    if step.name not in ("conv2", "fc"):
        return step
    weight = np.asarray(step.arrays["weight"], np.float64)
    largest = np.linalg.svd(weight.reshape(len(weight), -1), compute_uv=False)[0]
    return Step(step.name, step.operation, step.inputs, {**step.arrays, "weight": weight / largest}, step.options)


def arrays() -> dict[str, np.ndarray]:
    """Weights by the names that the models of both frameworks use, as in ``conv1.weight``."""
    return {f"{step.name}.{key}": array for step in reference().steps for key, array in step.arrays.items()}


def images(count: int = 2) -> np.ndarray:
    """Draw signed images (N, 2, 9, 7), float64."""
    return np.random.default_rng(22).normal(size=(count, 2, *SPACE))


def logits(make: Callable[[], Blueprint] = reference, scale: float = 1.0) -> np.ndarray:
    """What the network answers, (N, 3)."""
    return np.asarray(oracle.forward(make(), images() * scale)["fc"])


@cache
def answers(method: str, *, make: Callable[[], Blueprint] = reference, scale: float = 1.0) -> np.ndarray:
    """The attribution (N, 1, ...) of one class, by the oracle that belongs to the method.

    Parameters
    ----------
    scale : float
        Factor that the model itself puts on its images, as where a hook of the caller's doubles them.
    """
    found = _ANSWERS[method](make(), images() * scale)[:, None]
    return found * scale if method in ("gradient", "clear") else found


def answers_from_logits(make: Callable[[], Blueprint] = reference) -> np.ndarray:
    """CLEAR where the model has no class maps: the class's own logit is pulled back."""
    strength = np.maximum(logits(make)[:, TARGET], 0)
    return answers("gradient", make=make) * strength.reshape(-1, 1, 1, 1, 1)


def _cam(blueprint: Blueprint, x: np.ndarray) -> np.ndarray:
    features, weights, _ = oracle.class_maps(blueprint, x)
    return np.einsum("nchw,c->nhw", features, weights[TARGET])


def _grad_cam(blueprint: Blueprint, x: np.ndarray) -> np.ndarray:
    return oracle.grad_cam(blueprint, x, layer=_pooled(blueprint), target=TARGET)


def _gradient(blueprint: Blueprint, x: np.ndarray) -> np.ndarray:
    cotangent = np.tile(np.eye(3)[TARGET], (len(x), 1))
    return oracle.vector_jacobian(blueprint, x, of="fc", cotangent=cotangent)


def _lrp(blueprint: Blueprint, x: np.ndarray) -> np.ndarray:
    return oracle.relevance(blueprint, x, target=TARGET)


def _clear(blueprint: Blueprint, x: np.ndarray) -> np.ndarray:
    weights = oracle.class_maps(blueprint, x)[1][TARGET]
    cotangent = np.einsum("c,nhw->nchw", weights, np.maximum(_cam(blueprint, x), 0))
    return oracle.vector_jacobian(blueprint, x, of=_pooled(blueprint), cotangent=cotangent)


def _pooled(blueprint: Blueprint) -> str:
    return next(step for step in blueprint.steps if step.operation == "global_average_pool").inputs[0]


_ANSWERS: Mapping[str, Callable[[Blueprint, np.ndarray], np.ndarray]] = {
    "cam": _cam,
    "grad_cam": _grad_cam,
    "gradient": _gradient,
    "lrp": _lrp,
    "clear": _clear,
}
