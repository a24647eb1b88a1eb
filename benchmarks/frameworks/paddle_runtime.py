"""PaddlePaddle."""

import copy
from typing import Any

import paddle

from benchmarks.frameworks.paddle_models import settled
from benchmarks.images import Images
from benchmarks.workloads import Workload


class PaddleRuntime:
    """Paddle on the CPU or on the current GPU."""

    def __init__(self, *, device: str, threads: int) -> None:
        del threads  # OMP_NUM_THREADS, read when the process began
        has_gpu = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
        if device == "gpu" and not has_gpu:
            raise RuntimeError("Paddle sees no GPU; use --device cpu")
        self.device = "gpu" if has_gpu and device != "cpu" else "cpu"
        paddle.set_device(self.device)

    def build(self, workload: Workload) -> Any:
        return settled(workload.build, workload.outputs, workload.shape)

    def copied(self, model: Any) -> Any:
        return copy.deepcopy(model)

    def tensor(self, images: Images) -> Any:
        return paddle.to_tensor(images)

    def forward(self, model: Any, images: Any) -> Any:
        with paddle.no_grad():
            return model(images)

    def synchronise(self) -> None:
        if self.device == "gpu":
            paddle.device.synchronize()

    def restart_peak(self) -> None:
        if self.device == "gpu":
            paddle.device.cuda.reset_max_memory_allocated()

    def device_bytes(self) -> int:
        return int(paddle.device.cuda.memory_allocated()) if self.device == "gpu" else 0

    def device_peak_bytes(self) -> int:
        return int(paddle.device.cuda.max_memory_allocated()) if self.device == "gpu" else 0
