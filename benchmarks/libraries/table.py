"""The libraries, in the order of columns. A new one is one file and one entry."""

import importlib.metadata
from collections.abc import Mapping

from benchmarks.libraries.captum import CAPTUM
from benchmarks.libraries.grad_cam import GRAD_CAM
from benchmarks.libraries.interpretdl import INTERPRETDL
from benchmarks.libraries.library import Library
from benchmarks.libraries.monai import MONAI
from benchmarks.libraries.ours import ATTRIBUTE, EXPLAIN
from benchmarks.libraries.torchcam import TORCHCAM
from benchmarks.libraries.zennit import ZENNIT

LIBRARIES: Mapping[str, Library] = {
    library.key: library for library in (EXPLAIN, ATTRIBUTE, CAPTUM, GRAD_CAM, TORCHCAM, ZENNIT, MONAI, INTERPRETDL)
}
OURS = EXPLAIN.key
"""The column whose numbers are judged."""


def is_ours(library: str) -> bool:
    """Whether a column is of this project, by either door."""
    return LIBRARIES[library].distribution == EXPLAIN.distribution


def version_of(distribution: str) -> str:
    """What is installed, or ``""``."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
