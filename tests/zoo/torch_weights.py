"""Random weights for PyTorch models under which every layer matters."""

from typing import Any

import torch
from torch import nn

from zoo.entry import Architecture

_BATCH_NORM = nn.modules.batchnorm._BatchNorm
_NORMS = (_BATCH_NORM, nn.modules.instancenorm._InstanceNorm, nn.LayerNorm, nn.GroupNorm)


def built(architecture: Architecture) -> Any:
    """Build a model, wake idle parameters, and give batch norms statistics near those of the images."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(architecture.seed)
        model = architecture.build()
        _wake(model)
        norms = [module for module in model.modules() if isinstance(module, _BATCH_NORM)]
        if norms:
            _settle(model, norms, torch.from_numpy(architecture.images(4, seed=1)).float())
    return model.eval()


def _wake(model: Any) -> None:
    """Replace what a library starts at a constant: norms at one, biases and tokens at zero, layer scales at 1e-6."""
    scales = {id(module.weight) for module in model.modules() if isinstance(module, _NORMS)}
    for parameter in model.parameters():
        first = parameter.flatten()[0]
        if parameter.numel() > 1 and bool((parameter == first).all()):
            is_scale = id(parameter) in scales or bool(first != 0)
            noise = torch.rand(parameter.shape)
            parameter.copy_(0.5 + noise if is_scale else 0.2 * (noise - 0.5))


def _settle(model: Any, norms: list[Any], images: torch.Tensor) -> None:
    """Take the statistics of some images, then move them, as a training set's differ from any image's."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # a plain average instead of a running one
        norm.reset_running_stats()
    model.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        mean, variance = norm.running_mean, norm.running_var
        mean.add_(0.1 * variance.sqrt() * torch.randn(mean.shape))
        variance.mul_(0.7 + 0.7 * torch.rand(variance.shape))
