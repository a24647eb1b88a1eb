"""Captum. Its LRP has another rule and is not compared."""

import importlib
from types import MappingProxyType
from typing import Any

from benchmarks.jobs import Job
from benchmarks.libraries.library import Library, Prepared, Subject


def grad_cam(job: Job, subject: Subject) -> Prepared:
    subject.refuse_tokens()
    return _looped(_captum().LayerGradCam(subject.model, subject.layer(job)), job, subject)


def gradient(job: Job, subject: Subject) -> Prepared:
    return _looped(_captum().Saliency(subject.model), job, subject)


def guided(job: Job, subject: Subject) -> Prepared:
    return _looped(_captum().GuidedBackprop(subject.model), job, subject)


def deconvolution(job: Job, subject: Subject) -> Prepared:
    return _looped(_captum().Deconvolution(subject.model), job, subject)


def _captum() -> Any:
    return importlib.import_module("captum.attr")


def _looped(method: Any, job: Job, subject: Subject) -> Prepared:
    """One class for the whole batch at a time: `target` takes one class per image. Maps are detached from the graph."""
    classes = subject.classes(job)
    return Prepared(lambda: [method.attribute(subject.images, target=k).detach() for k in classes])


CAPTUM = Library(
    key="captum",
    distribution="captum",
    module="captum",
    frameworks=("torch",),
    offers=MappingProxyType(
        {"grad_cam": grad_cam, "gradient": gradient, "guided_backprop": guided, "deconvnet": deconvolution}
    ),
    inside="`attribute` for each class; maps where they arise, not enlarged, tensors",
)
