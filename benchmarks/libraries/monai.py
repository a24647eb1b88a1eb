"""MONAI's visualize module."""

import importlib
from types import MappingProxyType
from typing import Any

from benchmarks.jobs import Job
from benchmarks.libraries.library import Library, NotOfferedError, Prepared, Subject

ONE_BY_ONE = "image by image, as its interface takes one"


def cam(job: Job, subject: Subject) -> Prepared:
    head = subject.workload.head
    if head is None:
        raise NotOfferedError("needs one linear layer behind a global average pool")
    extractor = _visualize().CAM(nn_module=subject.model, target_layers=subject.layer_name(job), fc_layers=head)

    def run() -> Any:
        return [extractor(x=subject.images, class_idx=[k] * subject.batch).detach() for k in subject.classes(job)]

    return Prepared(run)


def grad_cam(job: Job, subject: Subject) -> Prepared:
    subject.refuse_tokens()
    extractor = _visualize().GradCAM(nn_module=subject.model, target_layers=subject.layer_name(job))
    return Prepared(lambda: [extractor(x=subject.images, class_idx=k).detach() for k in subject.classes(job)])


def gradient(job: Job, subject: Subject) -> Prepared:
    return _one_by_one(_visualize().VanillaGrad(subject.model), job, subject)


def guided(job: Job, subject: Subject) -> Prepared:
    return _one_by_one(_visualize().GuidedBackpropGrad(subject.model), job, subject)


def _visualize() -> Any:
    return importlib.import_module("monai.visualize")


def _one_by_one(method: Any, job: Job, subject: Subject) -> Prepared:
    def run() -> Any:
        images = [subject.images[n : n + 1].detach().clone() for n in range(subject.batch)]
        # a fresh image each time: it adds to the image's .grad
        return [method(image.clone(), index=k) for image in images for k in subject.classes(job)]

    return Prepared(run, note="" if subject.batch == 1 else ONE_BY_ONE)


MONAI = Library(
    key="MONAI",
    distribution="monai",
    module="monai",
    frameworks=("torch",),
    offers=MappingProxyType({"cam": cam, "grad_cam": grad_cam, "gradient": gradient, "guided_backprop": guided}),
    inside="a call for each class; CAM and Grad-CAM enlarged to the image and stretched, tensors",
)
