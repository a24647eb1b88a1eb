"""Random weights for PaddlePaddle models under which every layer matters."""

from typing import Any

import numpy as np
import paddle

from zoo.entry import Architecture

BATCH_NORMS = (paddle.nn.BatchNorm, paddle.nn.layer.norm._BatchNormBase)


def built(architecture: Architecture) -> Any:
    """Build a model, wake idle parameters, and give batch norms statistics near those of the images."""
    state = paddle.get_rng_state()
    generator = np.random.default_rng(1)
    try:
        paddle.seed(architecture.seed)
        with paddle.no_grad():
            model = architecture.build()
            norms = [layer for layer in model.sublayers() if isinstance(layer, BATCH_NORMS)]
            _wake(model, norms, generator)
            images = architecture.images(4, seed=1).astype(np.float32)
            _settle(model, norms, paddle.to_tensor(images), generator)
    finally:
        paddle.set_rng_state(state)
    model.eval()
    return model


def _wake(model: Any, norms: list[Any], generator: np.random.Generator) -> None:
    """Replace what the library starts at a constant: norms at one, biases at zero."""
    statistics = {id(each) for norm in norms for each in (norm._mean, norm._variance)}
    scales = {id(norm.weight) for norm in norms}
    for parameter in model.parameters():
        values = parameter.numpy()
        if id(parameter) in statistics or values.size < 2 or np.ptp(values) > 0:
            continue
        noise = generator.random(values.shape)
        is_scale = id(parameter) in scales or values.flat[0] != 0
        parameter.set_value((0.5 + noise if is_scale else 0.2 * (noise - 0.5)).astype(values.dtype))


def _settle(model: Any, norms: list[Any], images: Any, generator: np.random.Generator) -> None:
    """Take the statistics of some images, then move them, as a training set's differ from any image's."""
    momenta = [norm._momentum for norm in norms]
    for norm in norms:
        norm._momentum = 0.0  # nothing of the old statistics stays
    model.train()
    model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm._momentum = momentum
        mean, variance = norm._mean.numpy(), norm._variance.numpy()
        moved = mean + 0.1 * np.sqrt(variance) * generator.normal(size=mean.shape)
        norm._mean.set_value(moved.astype(mean.dtype))
        norm._variance.set_value((variance * (0.7 + 0.7 * generator.random(variance.shape))).astype(mean.dtype))
