"""Captum, as its manual shows it."""

import numpy as np
import torch
from captum.attr import LRP, GuidedBackprop, LayerAttribution, LayerGradCam, Saliency

from reliability import convention
from reliability.kit import Kit
from reliability.layers import module_of
from reliability.stages import Rule
from reliability.subject import Map, Question, Subject


def subject(kit: Kit) -> Subject:
    return Subject(
        name="captum",
        kit=kit,
        methods={"grad_cam": grad_cam, "gradient": gradient, "lrp": lrp, "guided": guided},
        rule=Rule("epsilon", 1e-9),
    )


def grad_cam(asked: Question) -> Map:
    """Signed and not enlarged; its tutorials enlarge with `LayerAttribution.interpolate`, by its default."""
    found = LayerGradCam(asked.model, module_of(asked)).attribute(asked.x, target=asked.target)
    values = _values(found)
    enlarged = None
    if asked.is_enlarged:
        enlarged = _values(LayerAttribution.interpolate(found, tuple(asked.x.shape[2:])))[:, 0]
    return Map(values[:, 0], convention.raw, enlarged)


def gradient(asked: Question) -> Map:
    """Magnitudes, by default."""
    return Map(_values(Saliency(asked.model).attribute(asked.x, target=asked.target)), convention.magnitude)


def lrp(asked: Question) -> Map:
    return Map(_values(LRP(asked.model).attribute(asked.x, target=asked.target)), convention.raw)


def guided(asked: Question) -> Map:
    return Map(_values(GuidedBackprop(asked.model).attribute(asked.x, target=asked.target)), convention.raw)


def _values(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().to(torch.float64).numpy().copy()
