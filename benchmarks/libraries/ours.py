"""xai_med, by both of its doors."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.jobs import Job
from benchmarks.libraries.library import Library, NotOfferedError, Prepared, Subject

NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cam": ("cam",),
        "grad_cam": ("grad_cam",),
        "gradient": ("gradient",),
        "lrp": ("lrp",),
        "guided_backprop": ("guided_backprop", "guided_backpropagation", "guided"),
        "deconvnet": ("deconvnet", "deconvolution", "deconv"),
        "clear": ("clear",),
    }
)
"""Jobs' methods, and under which name the registry may have them."""


def explained(job: Job, subject: Subject) -> Prepared:
    """As users call it; for CLEAR with its picture."""
    from xai_med import explain

    settings = _settings(job, subject)
    if job.method == "clear":
        return Prepared(lambda: _clear_pictures(explain(subject.model, subject.images, **settings)))
    return Prepared(lambda: explain(subject.model, subject.images, **settings))


def attributed(job: Job, subject: Subject) -> Prepared:
    """Maps where they arise."""
    from xai_med import attribute

    settings = _settings(job, subject)
    return Prepared(lambda: attribute(subject.model, subject.images, **settings))


def _settings(job: Job, subject: Subject) -> dict[str, Any]:
    import xai_med

    name = next((name for name in NAMES[job.method] if name in xai_med.methods()), None)
    if name is None:
        raise NotOfferedError("not offered")
    settings: dict[str, Any] = {"method": name, "target": "all" if job.target is None else job.target}
    if job.place == "middle":
        settings["layer"] = subject.layer_name(job)
    return settings


def _clear_pictures(explanation: Any) -> Any:
    """The explanation, and the HSV picture of each image; of each slice for volumes."""
    from xai_med.render import clear_picture

    extent = explanation.maps.shape[-2:]
    slices = (explanation.extras[key].reshape(-1, *extent) for key in ("dominant_class", "dominant_response"))
    classes = explanation.maps.shape[1]
    pictures = [clear_picture(*pair, number_of_classes=classes) for pair in zip(*slices, strict=True)]
    return explanation, np.stack(pictures)


def _door(function: Callable[[Job, Subject], Prepared], methods: tuple[str, ...]) -> Any:
    return MappingProxyType({method: partial(function) for method in methods})


EXPLAIN = Library(
    key="xai_med",
    distribution="xai-med",
    module="xai_med",
    frameworks=("torch", "paddle"),
    offers=_door(explained, tuple(NAMES)),
    inside="`explain(...)`: all checks, channels summed, maps enlarged to the image, NumPy arrays; for CLEAR the class "
    "and strength of the strongest response at each pixel and the HSV picture as RGB",
)
ATTRIBUTE = Library(
    key="xai_med attribute",
    distribution="xai-med",
    module="xai_med",
    frameworks=("torch", "paddle"),
    offers=_door(attributed, ("cam", "grad_cam", "gradient", "lrp", "guided_backprop", "deconvnet")),
    inside="`attribute(...)`: the method's own checks, maps where they arise, tensors of the framework",
)
