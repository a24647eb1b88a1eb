"""PyTorch."""

import copy
from typing import Any

import torch

from benchmarks.frameworks.runtime import is_there
from benchmarks.frameworks.torch_models import settled
from benchmarks.images import Images
from benchmarks.torchvision_import import import_torchvision
from benchmarks.workloads import Workload


class TorchRuntime:
    """PyTorch on the CPU or on the current CUDA device."""

    def __init__(self, *, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        if is_there("torchvision"):
            import_torchvision()  # several libraries import it, in ways that may fail
        has_gpu = torch.cuda.is_available()
        if device == "gpu" and not has_gpu:
            raise RuntimeError("PyTorch sees no GPU; use --device cpu")
        self.device = "gpu" if has_gpu and device != "cpu" else "cpu"
        self._native = torch.device("cuda" if self.device == "gpu" else "cpu")

    def build(self, workload: Workload) -> Any:
        return settled(workload.build, workload.outputs, workload.shape).to(self._native)

    def copied(self, model: Any) -> Any:
        return copy.deepcopy(model)

    def tensor(self, images: Images) -> Any:
        return torch.from_numpy(images.copy()).to(self._native)

    def forward(self, model: Any, images: Any) -> Any:
        with torch.no_grad():
            return model(images)

    def synchronise(self) -> None:
        if self.device == "gpu":
            torch.cuda.synchronize()

    def restart_peak(self) -> None:
        if self.device == "gpu":
            torch.cuda.reset_peak_memory_stats()

    def device_bytes(self) -> int:
        return torch.cuda.memory_allocated() if self.device == "gpu" else 0

    def device_peak_bytes(self) -> int:
        return torch.cuda.max_memory_allocated() if self.device == "gpu" else 0
