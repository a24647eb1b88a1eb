"""Zennit."""

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from benchmarks.jobs import Job
from benchmarks.libraries.library import Library, Prepared, Subject

NOTES: Mapping[str, str] = MappingProxyType(
    {
        "DenseNet": "batch norms not merged: its canonizer fails on DenseNet",
        "ResNet 3-D": "residual sums not shared out: its canonizer for them knows torchvision's ResNets only",
        "ViT": "no rule for attention and layer norm, where it passes plain gradients",
    }
)


def gradient(job: Job, subject: Subject) -> Prepared:
    return _looped(None, job, subject, "")


def lrp(job: Job, subject: Subject) -> Prepared:
    canonizers = _canonizers(subject.workload.family)
    composite = importlib.import_module("zennit.composites").EpsilonPlus(canonizers=canonizers)
    return _looped(composite, job, subject, NOTES.get(subject.workload.family, ""))


def guided(job: Job, subject: Subject) -> Prepared:
    return _looped(importlib.import_module("zennit.composites").GuidedBackprop(), job, subject, "")


def deconvnet(job: Job, subject: Subject) -> Prepared:
    return _looped(importlib.import_module("zennit.composites").DeconvNet(), job, subject, "")


def _canonizers(family: str) -> list[Any]:
    if family == "ResNet":
        return [importlib.import_module("zennit.torchvision").ResNetCanonizer()]
    if family == "DenseNet":
        return []
    return [importlib.import_module("zennit.canonizers").SequentialMergeBatchNorm()]


def _looped(composite: Any, job: Job, subject: Subject, note: str) -> Prepared:
    """One class at a time. The context stays open, so that its hooks and merged weights are made once."""
    import torch

    attributor = importlib.import_module("zennit.attribution").Gradient(model=subject.model, composite=composite)
    attributor.__enter__()

    def of_class(k: int) -> Any:
        def seed(output: Any) -> Any:
            chosen = torch.zeros_like(output)
            chosen[:, k] = 1
            return chosen if composite is None else chosen * output

        return attributor(subject.images, seed)[1].detach()

    return Prepared(lambda: [of_class(k) for k in subject.classes(job)], note=note)


ZENNIT = Library(
    key="zennit",
    distribution="zennit",
    module="zennit",
    frameworks=("torch",),
    offers=MappingProxyType({"gradient": gradient, "lrp": lrp, "guided_backprop": guided, "deconvnet": deconvnet}),
    inside="its attributor for each class, in a context that stays open; maps at the input, tensors",
)
