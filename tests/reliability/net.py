"""Small networks split into a body and a head, with what the oracles need to know of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reliability.kit import Kit
from reliability.stages import Affine, Rectifier, Stage

Function = Callable[[Any, Any], Any]


@dataclass(frozen=True, eq=False)
class Net:
    """A model, its images, and its definition.

    Parameters
    ----------
    kit : Kit
        The framework.
    model : object
        What the subject gets.
    exact : object
        A float64 copy for the oracles, made before any subject has seen the model.
    x : ndarray of shape (N, C, *space), float32
    body, head : callable of (model, tensor)
        ``model(x) = head(model, body(model, x))``; the body's output are the features of layer maps.
    layer : str
        Dotted name of the module whose output the features are.
    class_weights : ndarray of shape (K, C) or None
        Where the logits are ``mean(features) @ class_weights.T + bias``.
    stages : tuple of Stage
        The whole network again, for relevance and guided signals; empty where neither is asked.
    target : int
        The class that is explained: the one with the largest logit of the first image.
    """

    kit: Kit
    model: Any
    exact: Any
    x: np.ndarray
    body: Function
    head: Function
    layer: str
    class_weights: np.ndarray | None
    stages: tuple[Stage, ...]
    target: int

    @property
    def native(self) -> Any:
        """The images as a tensor of the framework, a new one at each call."""
        return self.kit.tensor(self.x)


def make(
    kit: Kit,
    layers: Mapping[str, Any],
    body: Function,
    head: Function,
    x: np.ndarray,
    *,
    layer: str = "relu2",
    class_weights: np.ndarray | None = None,
    stages: Callable[[Any], tuple[Stage, ...]] = lambda model: (),
    returned: Function | None = None,
    forward: Function | None = None,
) -> Net:
    """Build a network.

    Parameters
    ----------
    kit, layers, body, head, x, layer, class_weights
        See `Net`.
    stages : callable
        Makes the stages from the exact copy.
    returned : callable of (model, logits)
        What the model returns, where it is not the logits themselves.
    forward : callable of (model, x)
        The whole model, where it is not the body followed by the head (a head that holds something fixed).
    """
    if forward is not None:
        model = kit.network(layers, forward, lambda s, output: output)
    elif returned is not None:
        model = kit.network(layers, body, lambda s, features: returned(s, head(s, features)))
    else:
        model = kit.network(layers, body, head)
    exact = kit.exact(model)
    logits = kit.run(lambda t: head(exact, body(exact, t)), x)
    target = int(logits[0].argmax()) if logits.ndim == 2 else 0
    return Net(kit, model, exact, x, body, head, layer, class_weights, stages(exact), target)


# ---- weights and images


def drawn(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Normal numbers in float32, the same for every framework."""
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def images(count: int = 1, *, channels: int = 2, space: tuple[int, ...] = (6, 7), seed: int = 11) -> np.ndarray:
    """Images of noise."""
    return drawn(seed, count, channels, *space)


def plain_layers(
    kit: Kit,
    *,
    seed: int = 0,
    in_place: bool = False,
    space: int = 2,
    bias: bool = True,
    biased_convolutions: bool = False,
) -> dict[str, Any]:
    """Two convolutions with ReLUs, a global average pool and a linear layer."""
    kernel = (3,) * space
    first, second = (drawn(seed + n, 4, scale=0.1) if biased_convolutions else None for n in (6, 7))
    return {
        "conv1": kit.convolution(drawn(seed + 1, 4, 2, *kernel, scale=0.5), first, padding=1),
        "relu1": kit.relu(in_place=in_place),
        "conv2": kit.convolution(drawn(seed + 2, 4, 4, *kernel, scale=0.4), second, padding=1),
        "relu2": kit.relu(in_place=in_place),
        "pool": kit.global_average(space),
        "fc": kit.linear(plain_class_weights(seed), drawn(seed + 4, 3, scale=0.1) if bias else None),
    }


def plain_class_weights(seed: int = 0) -> np.ndarray:
    """Weights of the linear layer of `plain_layers`, (K, C)."""
    return drawn(seed + 3, 3, 4)


def plain_body(s: Any, x: Any) -> Any:
    """The convolutions of `plain_layers`."""
    return s.relu2(s.conv2(s.relu1(s.conv1(x))))


def plain_head(s: Any, features: Any) -> Any:
    """The pool and linear layer of `plain_layers`."""
    return s.fc(s.pool(features).flatten(1))


def flat_head(s: Any, features: Any) -> Any:
    """A linear layer on flattened features."""
    return s.fc(features.flatten(1))


def plain_stages(model: Any) -> tuple[Stage, ...]:
    """The stages of `plain_layers`."""
    return (*body_stages(model), *head_stages(model))


def body_stages(model: Any) -> tuple[Stage, ...]:
    """The convolutions' stages."""
    return (Affine("convolution", model.conv1), Rectifier(), Affine("convolution", model.conv2), Rectifier())


def head_stages(model: Any) -> tuple[Stage, ...]:
    """The pool's and linear layer's stages."""
    return (Affine("average", lambda t: model.pool(t).flatten(1)), Affine("linear", model.fc))


def plain(kit: Kit, x: np.ndarray | None = None, *, seed: int = 0, **options: Any) -> Net:
    """The network that most cases look at; bias in the linear layer only, so that relevance is comparable."""
    return make(
        kit,
        plain_layers(kit, seed=seed, **options),
        plain_body,
        plain_head,
        images() if x is None else x,
        class_weights=plain_class_weights(seed),
        stages=plain_stages,
    )


def flat(kit: Kit, *, seed: int = 0) -> Net:
    """The same convolutions with a linear layer on flattened features: guided signals start at one logit."""
    layers = {**plain_layers(kit, seed=seed), "fc": kit.linear(drawn(seed + 5, 3, 4 * 6 * 7, scale=0.3))}
    return make(kit, layers, plain_body, flat_head, images(), stages=flat_stages)


def flat_stages(model: Any) -> tuple[Stage, ...]:
    """The stages of `flat`."""
    return (*body_stages(model), Affine("linear", lambda t: model.fc(t.flatten(1))))
