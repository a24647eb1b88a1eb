"""torch-cam."""

import importlib
from types import MappingProxyType
from typing import Any

from benchmarks.jobs import Job
from benchmarks.libraries.library import Library, NotOfferedError, Prepared, Subject


def cam(job: Job, subject: Subject) -> Prepared:
    head = subject.workload.head
    if head is None:
        raise NotOfferedError("needs one linear layer behind a global average pool")
    extractor = _methods().CAM(subject.model, subject.layer_name(job), head)

    def run() -> Any:
        scores = subject.runtime.forward(subject.model, subject.images)
        maps = [extractor(k, scores)[0] for k in subject.classes(job)]
        extractor.reset_hooks()  # as leaving its context would, lest it keep activations
        return maps

    return Prepared(run, note="its forward pass runs under no_grad, which CAM allows")


def grad_cam(job: Job, subject: Subject) -> Prepared:
    subject.refuse_tokens()
    extractor = _methods().GradCAM(subject.model, subject.layer_name(job))
    classes = subject.classes(job)

    def run() -> Any:
        scores = subject.model(subject.images)
        maps = [extractor(k, scores, retain_graph=k != classes[-1])[0].detach() for k in classes]
        extractor.reset_hooks()
        return maps

    return Prepared(run)


def _methods() -> Any:
    return importlib.import_module("torchcam.methods")


TORCHCAM = Library(
    key="torchcam",
    distribution="torchcam",
    module="torchcam",
    frameworks=("torch",),
    offers=MappingProxyType({"cam": cam, "grad_cam": grad_cam}),
    inside="one forward pass, then its extractor for each class; stretched to 0…1, not enlarged, tensors",
)
