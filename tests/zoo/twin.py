"""A PaddlePaddle classifier as the torchvision model of the same name with the same weights.

paddle.vision and torchvision state the same architectures. Layers with weights are paired in the order in which they
run; that the twins give the same logits is checked by whoever compares them.
"""

from typing import Any

import numpy as np
import paddle
import torch
from torch import nn

from zoo.classifiers import torchvision_model
from zoo.entry import Architecture
from zoo.paddle_weights import BATCH_NORMS

_PADDLE_LAYERS = (paddle.nn.Conv2D, paddle.nn.Linear, *BATCH_NORMS)
_TORCH_LAYERS = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)


def torch_twin(architecture: Architecture, model: Any) -> Any:
    """The torchvision model with a Paddle model's weights, float64, in evaluation mode."""
    twin = torchvision_model(architecture.name).double().eval()
    images = architecture.images(1)
    theirs, ours = _paddle_order(model, images.astype(np.float32)), _torch_order(twin, images)
    if [_kind(layer) for layer in theirs] != [_kind(layer) for layer in ours]:
        raise LookupError(f"paddle.vision and torchvision state {architecture.name} differently")
    with torch.no_grad():
        for source, target in zip(theirs, ours, strict=True):
            _copy(source, target)
    return twin


def _paddle_order(model: Any, images: np.ndarray) -> list[Any]:
    found: list[Any] = []
    layers = [layer for layer in model.sublayers() if isinstance(layer, _PADDLE_LAYERS)]
    hooks = [layer.register_forward_post_hook(lambda layer, *_: found.append(layer)) for layer in layers]
    with paddle.no_grad():
        model(paddle.to_tensor(images))
    for hook in hooks:
        hook.remove()
    return found


def _torch_order(model: Any, images: np.ndarray) -> list[Any]:
    found: list[Any] = []
    layers = [layer for layer in model.modules() if isinstance(layer, _TORCH_LAYERS)]
    hooks = [layer.register_forward_hook(lambda layer, *_: found.append(layer)) for layer in layers]
    with torch.no_grad():
        model(torch.from_numpy(images))
    for hook in hooks:
        hook.remove()
    return found


def _kind(layer: Any) -> str:
    name = type(layer).__name__
    return "norm" if "Norm" in name else "linear" if name == "Linear" else "convolution"


def _copy(source: Any, target: Any) -> None:
    weight = source.weight.numpy()
    target.weight.copy_(torch.from_numpy(weight.T.copy() if _kind(source) == "linear" else weight))
    if source.bias is not None:
        target.bias.copy_(torch.from_numpy(source.bias.numpy()))
    elif target.bias is not None:
        target.bias.zero_()
    if _kind(source) == "norm":
        target.running_mean.copy_(torch.from_numpy(source._mean.numpy()))
        target.running_var.copy_(torch.from_numpy(source._variance.numpy()))
        target.eps = float(np.float32(source._epsilon))  # as the operator keeps it
