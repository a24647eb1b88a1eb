"""torch-cam, as its README shows it."""

from typing import Any

import torch
from torchcam.methods import CAM, GradCAM

from reliability import convention
from reliability.kit import Kit
from reliability.subject import Map, Question, Subject


def subject(kit: Kit) -> Subject:
    return Subject(name="torchcam", kit=kit, methods={"cam": cam, "grad_cam": grad_cam})


def cam(asked: Question) -> Map:
    """Stretched to 0..1, not enlarged."""
    with CAM(asked.model, asked.layer, asked.classifier) as extractor:
        return _map(extractor, asked, convention.stretched)


def grad_cam(asked: Question) -> Map:
    """Positive, stretched to 0..1, not enlarged."""
    with GradCAM(asked.model, asked.layer) as extractor:
        return _map(extractor, asked, convention.positive_stretched)


def _map(extractor: Any, asked: Question, rule: Any) -> Map:
    scores = asked.model(asked.x)
    found = extractor(asked.target, scores)[0]
    return Map(found.detach().to(torch.float64).numpy().copy(), rule)
