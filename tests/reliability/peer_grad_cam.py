"""pytorch-grad-cam, as its README shows it."""

import io
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from pytorch_grad_cam import GradCAM, GuidedBackpropReLUModel
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from reliability import convention
from reliability.kit import Kit
from reliability.layers import module_of
from reliability.subject import Map, NoMapError, Question, Subject


def subject(kit: Kit) -> Subject:
    return Subject(
        name="grad-cam",
        kit=kit,
        methods={"grad_cam": grad_cam, "guided": guided},
        predicted=frozenset({"grad_cam"}),
    )


def grad_cam(asked: Question) -> Map:
    """Positive, stretched to 0..1, enlarged.

    Raises
    ------
    NoMapError
        The context swallowed an IndexError and printed it.
    """
    found: Any = None
    printed = io.StringIO()
    with redirect_stdout(printed), GradCAM(model=asked.model, target_layers=[module_of(asked)]) as cam:
        found = cam(input_tensor=asked.x, targets=_targets(asked))
    if found is None:
        raise NoMapError(f"nothing was returned; printed: {printed.getvalue()}")
    values = np.asarray(found, dtype=np.float64)
    return Map(values, convention.positive_enlarged, values)


def guided(asked: Question) -> Map:
    """One image; (H, W, C)."""
    found = GuidedBackpropReLUModel(model=asked.model)(asked.x, target_category=asked.target)
    return Map(np.asarray(found, dtype=np.float64).transpose(2, 0, 1)[None], convention.raw)


def _targets(asked: Question) -> list[Any] | None:
    if asked.target is None:
        return None
    if isinstance(asked.target, list):
        return [ClassifierOutputTarget(k) for k in asked.target]
    return [ClassifierOutputTarget(asked.target) for _ in range(len(asked.x))]
