"""Peak memory of a piece of work: on a CPU of the process, on a GPU of the framework's tensors."""

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.frameworks.runtime import Runtime

MEBIBYTE = 2**20
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"
"""To be written to clear_refs: the peak begins again from what is resident now (proc(5))."""


class PeakMeter:
    """Measures over a level, which is what was taken when the meter was made.

    Parameters
    ----------
    runtime : Runtime
        Its device's memory counts, where it has its own.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.level = self._settled()

    def peak_mib(self, work: Callable[[], Any]) -> float:
        """Run some work; return the most memory that was taken on the way, over the level.

        What it gives is kept until the measurement is over, then let go of.
        """
        self._settled()
        self._restart()
        result = work()
        self._runtime.synchronise()
        peak = self._peak()
        del result
        return round(max(0, peak - self.level) / MEBIBYTE, 2)

    def kept_mib(self) -> float:
        """What is taken now, over the level."""
        return round((self._settled() - self.level) / MEBIBYTE, 2)

    def _settled(self) -> int:
        """Give back to the system what is free, and return the bytes taken."""
        gc.collect()
        if self._runtime.device == "gpu":
            self._runtime.synchronise()
            return self._runtime.device_bytes()
        _trim()
        return _resident("VmRSS")

    def _restart(self) -> None:
        if self._runtime.device == "gpu":
            self._runtime.restart_peak()
        elif _can_forget():
            _CLEAR.write_text(_FORGET_PEAK)

    def _peak(self) -> int:
        return self._runtime.device_peak_bytes() if self._runtime.device == "gpu" else _resident("VmHWM")


def how(device: str) -> str:
    """How peaks are measured here, in words."""
    if device == "gpu":
        return "most bytes in the framework's tensors on the device"
    if _can_forget():
        return "resident set's high-water mark (VmHWM), begun again before each job"
    return "largest resident set of the process so far (ru_maxrss), which hides jobs below an earlier peak"


def _can_forget() -> bool:
    return _STATUS.exists() and _CLEAR.exists()


def _resident(field: str) -> int:
    """Bytes of this process; where /proc is not there, its largest resident set so far, whatever is asked."""
    if not _STATUS.exists():
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def _trim() -> None:
    """Let glibc give back what it holds for later; elsewhere nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
