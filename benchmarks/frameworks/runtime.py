"""What measuring needs from a framework."""

import importlib
import importlib.util
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

from benchmarks.images import Images
from benchmarks.workloads import Workload

FRAMEWORKS: Mapping[str, str] = MappingProxyType(
    {
        "torch": "benchmarks.frameworks.torch_runtime:TorchRuntime",
        "paddle": "benchmarks.frameworks.paddle_runtime:PaddleRuntime",
    }
)


class Runtime(Protocol):
    """One framework on one device."""

    device: str
    """``"cpu"`` or ``"gpu"``."""

    def build(self, workload: Workload) -> Any:
        """Build the model on the device, in evaluation mode."""

    def copied(self, model: Any) -> Any:
        """Copy a model with its weights."""

    def tensor(self, images: Images) -> Any:
        """Put images on the device."""

    def forward(self, model: Any, images: Any) -> Any:
        """Run the model once, plainly, without a graph."""

    def synchronise(self) -> None:
        """Wait until the device has done what it was given."""

    def restart_peak(self) -> None:
        """Forget the device's peak memory."""

    def device_bytes(self) -> int:
        """Bytes in tensors on the device now; 0 on a CPU."""

    def device_peak_bytes(self) -> int:
        """Most bytes in tensors on the device since `restart_peak`; 0 on a CPU."""


def is_there(module: str) -> bool:
    """Whether a module can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def runtime_for(framework: str, *, device: str, threads: int) -> Runtime:
    """Set up a framework in this process.

    Parameters
    ----------
    framework : str
        One of `FRAMEWORKS`.
    device : str
        ``"cpu"``, ``"gpu"``, or ``"auto"`` for a GPU where there is one.
    threads : int
        Of the CPU. Paddle takes them from ``OMP_NUM_THREADS`` when its process begins.
    """
    module, _, name = FRAMEWORKS[framework].partition(":")
    made: Runtime = getattr(importlib.import_module(module), name)(device=device, threads=threads)
    return made
