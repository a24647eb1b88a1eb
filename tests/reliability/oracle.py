"""What maps must be, by definition: finite differences in float64, dense matrices, closed forms."""

from collections.abc import Callable, Sequence

import numpy as np

from reliability import stages
from reliability.net import Net

_STEP = 1e-5


def logits(net: Net, x: np.ndarray | None = None) -> np.ndarray:
    """(N, K)."""
    x = net.x if x is None else x
    return net.kit.run(lambda t: net.head(net.exact, net.body(net.exact, t)), x)


def features(net: Net, x: np.ndarray | None = None) -> np.ndarray:
    """(N, C, *space)."""
    return net.kit.run(lambda t: net.body(net.exact, t), net.x if x is None else x)


def cam(net: Net, targets: Sequence[int], x: np.ndarray | None = None) -> np.ndarray:
    """Sum of features times class weights, (N, *space)."""
    if net.class_weights is None:
        raise TypeError("this network has no class weights")
    chosen = net.class_weights.astype(np.float64)[list(targets)]
    return np.einsum("nc,nc...->n...", chosen, features(net, x))


def grad_cam(net: Net, targets: Sequence[int], x: np.ndarray | None = None) -> np.ndarray:
    """Sum of features times mean gradients, before the ReLU, (N, *space)."""
    values = features(net, x)
    slopes = differences(lambda f: net.kit.run(lambda t: net.head(net.exact, t), f), values, targets)
    weights = slopes.reshape(*slopes.shape[:2], -1).mean(axis=2)
    return np.einsum("nc,nc...->n...", weights, values)


def gradient(net: Net, targets: Sequence[int], x: np.ndarray | None = None) -> np.ndarray:
    """Derivative of the logit by each pixel, (N, C, *space)."""
    return differences(lambda images: logits(net, images), net.x if x is None else x, targets)


def clear(net: Net, targets: Sequence[int], x: np.ndarray | None = None) -> np.ndarray:
    """The positive class map, weighted back to the features and pulled back to the pixels, (N, C, *space).

    Kumar 2017, equation 3, with psi = ReLU and the true gradient; the logit takes the map's place where there is none.
    """
    x = net.x if x is None else x
    if net.class_weights is None:
        strength = np.maximum(logits(net, x)[np.arange(len(x)), list(targets)], 0)
        return gradient(net, targets, x) * strength.reshape(-1, *(1,) * (x.ndim - 1))
    maps = np.maximum(cam(net, targets, x), 0)
    cotangents = np.einsum("nc,n...->nc...", net.class_weights.astype(np.float64)[list(targets)], maps)
    found = []
    for image, cotangent in zip(x, cotangents, strict=True):

        def response(moved: np.ndarray, cotangent: np.ndarray = cotangent) -> np.ndarray:
            return (features(net, moved) * cotangent).reshape(len(moved), -1).sum(axis=1, keepdims=True)

        found.append(differences(response, image[None], [0])[0])
    return np.stack(found)


def relevance(net: Net, targets: Sequence[int], rule: stages.Rule, x: np.ndarray | None = None) -> np.ndarray:
    """Relevance of each pixel, layer by layer through dense matrices, (N, C, *space)."""
    return _back(net, targets, x, lambda chain, image, seed: stages.relevance(chain, image, seed, rule, net.kit.run))


def guided(net: Net, targets: Sequence[int], x: np.ndarray | None = None) -> np.ndarray:
    """Guided backpropagation from the logit, (N, C, *space)."""

    def signal(chain: tuple[stages.Stage, ...], image: np.ndarray, seed: np.ndarray) -> np.ndarray:
        return stages.guided(chain, image, (seed != 0).astype(float), net.kit.run)

    return _back(net, targets, x, signal)


def differences(function: Callable[[np.ndarray], np.ndarray], points: np.ndarray, targets: Sequence[int]) -> np.ndarray:
    """Central differences of column `targets[n]` of ``function(points)`` at each point."""
    points = np.asarray(points, dtype=np.float64)
    size = points[0].size
    steps = _STEP * np.eye(size).reshape(size, *points.shape[1:])
    found = []
    for point, target in zip(points, targets, strict=True):
        answers = function(np.concatenate([point + steps, point - steps]))[:, target]
        found.append(((answers[:size] - answers[size:]) / (2 * _STEP)).reshape(point.shape))
    return np.stack(found)


def _back(
    net: Net,
    targets: Sequence[int],
    x: np.ndarray | None,
    signal: Callable[[tuple[stages.Stage, ...], np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    if not net.stages:
        raise TypeError("this network was made without stages")
    x = np.asarray(net.x if x is None else x, dtype=np.float64)
    found = []
    for image, target in zip(x, targets, strict=True):
        output = stages.forward(net.stages, image[None], net.kit.run)
        seed = np.zeros_like(output)
        seed[0, target] = output[0, target]
        found.append(signal(net.stages, image[None], seed)[0])
    return np.stack(found)
