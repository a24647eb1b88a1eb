"""MONAI's visualize module, as its docstrings show it."""

from typing import Any

import torch
from monai.visualize import CAM, GradCAM, GuidedBackpropGrad, VanillaGrad

from reliability import convention
from reliability.kit import Kit
from reliability.layers import name_of
from reliability.subject import Map, Question, Subject


def subject(kit: Kit) -> Subject:
    return Subject(
        name="MONAI",
        kit=kit,
        methods={"cam": cam, "grad_cam": grad_cam, "gradient": gradient, "guided": guided},
        one_class=frozenset({"grad_cam", "gradient", "guided"}),
        predicted=frozenset({"cam", "grad_cam", "gradient"}),
    )


def cam(asked: Question) -> Map:
    """Enlarged, the largest value 0 and the smallest 1; one class per image in a list."""
    target = asked.target
    if target is not None and not isinstance(target, list):
        target = [target] * len(asked.x)
    extractor = CAM(nn_module=asked.model, target_layers=name_of(asked), fc_layers=asked.classifier)
    return _map(extractor(x=asked.x, class_idx=target), convention.inverted)


def grad_cam(asked: Question) -> Map:
    """The positive part, enlarged, the largest value 0 and the smallest 1."""
    extractor = GradCAM(nn_module=asked.model, target_layers=name_of(asked))
    return _map(extractor(x=asked.x, class_idx=asked.target), convention.positive_inverted)


def gradient(asked: Question) -> Map:
    found = VanillaGrad(asked.model)(asked.x, index=asked.target)
    return Map(_values(found), convention.raw)


def guided(asked: Question) -> Map:
    found = GuidedBackpropGrad(asked.model)(asked.x, index=asked.target)
    return Map(_values(found), convention.raw)


def _map(found: torch.Tensor, rule: Any) -> Map:
    values = _values(found)[:, 0]
    return Map(values, rule, 1 - values)


def _values(tensor: torch.Tensor) -> Any:
    return tensor.detach().to(torch.float64).numpy().copy()
