"""How strongly each class responds at each place: read out of signals, and made comparable between classes."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from xai_med.backend.tensors import Array, Tensor, Tensors, shape_of
from xai_med.errors import SettingError

RESPONSES: Mapping[str, Callable[[Tensor, Tensors], Tensor]] = MappingProxyType(
    {
        "abs": lambda signal, tensors: tensors.abs(signal),
        "signed": lambda signal, _: signal,
        "relu": lambda signal, tensors: tensors.relu(signal),
    }
)
CALIBRATIONS = ("none", "per_class_max", "sigmoid")
CHANNELS = ("sum", "l2")


def check_choices(**given: tuple[str, tuple[str, ...]]) -> None:
    """Refuse a word that is none of the known ones: ``name=(word, known)``.

    Raises
    ------
    SettingError
        It is not known.
    """
    for name, (value, allowed) in given.items():
        if value not in allowed:
            raise SettingError(f"{name}={value!r} is unknown; choose one of {', '.join(allowed)}")


def pooled(arrived: Tensor, channels: str, tensors: Tensors) -> Tensor:
    """Sum or norm over the channels of (N, K, C, *space)."""
    return tensors.sqrt(tensors.sum(arrived * arrived, (2,))) if channels == "l2" else tensors.sum(arrived, (2,))


def responses(signal: Tensor, scores: Array, tensors: Tensors, *, response: str, calibrate: str) -> Tensor:
    """Responses of classes from signals.

    Parameters
    ----------
    signal : tensor of shape (N, K, *space)
        One number per place and class.
    scores : ndarray of shape (N, K)
        Of the classes, for the sigmoid.
    tensors : Tensors
        Operations of the signal's framework.
    response, calibrate : str
        Of `RESPONSES` and `CALIBRATIONS`.
    """
    signal = RESPONSES[response](signal, tensors)
    shape = shape_of(signal)
    if calibrate == "sigmoid":
        probability = tensors.from_numpy(1 / (1 + np.exp(-np.clip(scores, -700, 700))), signal)
        return signal * tensors.reshape(probability, (*shape[:2], *(1,) * (len(shape) - 2)))
    if calibrate == "per_class_max":
        largest = tensors.amax(tensors.abs(signal), tuple(range(2, len(shape))), keep=True)
        return signal / tensors.where(largest > 0, largest, largest * 0 + 1)
    return signal


def read_responses(arrived: Tensor, scores: Array, tensors: Tensors, settings: Mapping[str, Any]) -> Tensor:
    """Responses (N, K, *space) of what arrived at the input, (N, K, C, *space), by the settings of ``clear``."""
    signal = pooled(arrived, settings["channels"], tensors)
    return responses(signal, scores, tensors, response=settings["response"], calibrate=settings["calibrate"])
