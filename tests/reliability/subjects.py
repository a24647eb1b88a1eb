"""Which libraries can be asked, in which framework, from which installed packages."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from reliability.kit import Kit
from reliability.subject import Subject


@dataclass(frozen=True)
class Entry:
    """Where a subject is made.

    Parameters
    ----------
    title : str
        For tables.
    framework : str
    module : str
        Of this package, with a function `subject`.
    package : str
        What has to be installed.
    """

    title: str
    framework: str
    module: str
    package: str


SUBJECTS: Mapping[str, Entry] = MappingProxyType(
    {
        "torch": Entry("xai_med, PyTorch", "torch", "ours", "torch"),
        "paddle": Entry("xai_med, Paddle", "paddle", "ours", "paddlepaddle"),
        "captum": Entry("captum", "torch", "peer_captum", "captum"),
        "grad-cam": Entry("grad-cam", "torch", "peer_grad_cam", "grad-cam"),
        "torchcam": Entry("torchcam", "torch", "peer_torchcam", "torchcam"),
        "zennit": Entry("zennit", "torch", "peer_zennit", "zennit"),
        "monai": Entry("MONAI", "torch", "peer_monai", "monai"),
        "medcam": Entry("medcam", "torch", "peer_medcam", "medcam"),
    }
)


def kit(framework: str) -> Kit:
    """The framework, imported now."""
    module = importlib.import_module(f"reliability.{framework}_kit")
    return getattr(module, f"{framework.capitalize()}Kit")()


def load(name: str) -> Subject:
    """A subject by its name in `SUBJECTS`; imports the library."""
    entry = SUBJECTS[name]
    return importlib.import_module(f"reliability.{entry.module}").subject(kit(entry.framework))
