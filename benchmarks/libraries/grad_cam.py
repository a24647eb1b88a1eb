"""pytorch-grad-cam."""

import importlib
from types import MappingProxyType
from typing import Any

from benchmarks.jobs import Job
from benchmarks.libraries.library import Library, Prepared, Subject


def grad_cam(job: Job, subject: Subject) -> Prepared:
    library = importlib.import_module("pytorch_grad_cam")
    targets = importlib.import_module("pytorch_grad_cam.utils.model_targets")
    options: dict[str, Any] = {}
    if subject.workload.tokens is not None:
        options["reshape_transform"] = lambda found: _to_grid(found, subject.workload.tokens)
    extractor = library.GradCAM(model=subject.model, target_layers=[subject.layer(job)], **options)

    def of_class(k: int) -> Any:
        found = extractor(input_tensor=subject.images, targets=[targets.ClassifierOutputTarget(k)] * subject.batch)
        if found is None:
            raise RuntimeError("an exception was swallowed, nothing was returned")
        return found

    return Prepared(lambda: [of_class(k) for k in subject.classes(job)])


def guided(job: Job, subject: Subject) -> Prepared:
    """Its model takes one image and one class."""
    model = importlib.import_module("pytorch_grad_cam").GuidedBackpropReLUModel(model=subject.model)

    def run() -> Any:
        return [
            model(subject.images[n : n + 1].detach().clone(), target_category=k)
            for n in range(subject.batch)
            for k in subject.classes(job)
        ]

    return Prepared(run, note="" if subject.batch == 1 else "image by image, as its interface takes one")


def _to_grid(found: Any, tokens: Any) -> Any:
    """Without the class token, channels first: as its manual shows for vision transformers."""
    return found[:, 1:].reshape(len(found), *tokens, found.shape[2]).permute(0, 3, 1, 2)


GRAD_CAM = Library(
    key="pytorch-grad-cam",
    distribution="grad-cam",
    module="pytorch_grad_cam",
    frameworks=("torch",),
    offers=MappingProxyType({"grad_cam": grad_cam, "guided_backprop": guided}),
    inside="a call for each class; positive part, stretched to 0…1, enlarged to the image, NumPy",
)
