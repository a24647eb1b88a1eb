"""InterpretDL, the peer for Paddle."""

import importlib
from types import MappingProxyType
from typing import Any

from benchmarks.jobs import Job
from benchmarks.libraries.library import Library, NotOfferedError, Prepared, Subject


def grad_cam(job: Job, subject: Subject) -> Prepared:
    extractor = _interpreters().GradCAMInterpreter(subject.model, device=_device(subject))
    layer, images = subject.layer_name(job), subject.images.numpy()

    def run() -> Any:
        return [
            extractor.interpret(images, target_layer_name=layer, label=[k] * subject.batch, visual=False)
            for k in subject.classes(job)
        ]

    return Prepared(run)


def gradient(job: Job, subject: Subject) -> Prepared:
    """SmoothGrad with one sample is the nearest that it offers; not the same job."""
    del job, subject
    raise NotOfferedError("only averaged over noise (SmoothGrad)")


def _interpreters() -> Any:
    return importlib.import_module("interpretdl")


def _device(subject: Subject) -> str:
    return "gpu:0" if subject.runtime.device == "gpu" else "cpu"


INTERPRETDL = Library(
    key="InterpretDL",
    distribution="interpretdl",
    module="interpretdl",
    frameworks=("paddle",),
    offers=MappingProxyType({"grad_cam": grad_cam, "gradient": gradient}),
    inside="a call for each class; model in training mode; maps not enlarged, and a picture of each, NumPy",
)
