"""What was measured, on what: code, versions, processor; nothing that names a machine."""

import datetime
import hashlib
import importlib.util
import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.libraries.table import LIBRARIES, version_of

ROOT = Path(__file__).resolve().parents[1]
MEASURED_CODE = ("xai_med", "xai_med_torch", "xai_med_paddle")
DISTRIBUTIONS = ("torch", "torchvision", "timm", "paddlepaddle", "numpy", "scipy")


def run_description(command: str) -> dict[str, Any]:
    """Describe this run, for all that it measures."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
        "command": command,
        "commit": commit(),
        "code": code_digest(),
        "machine": machine(),
        "versions": versions(),
        "environment": {
            name: value for name, value in sorted(os.environ.items()) if name.startswith(("OMP_", "MKL_", "OPENBLAS_"))
        },
    }


@lru_cache
def code_digest() -> str:
    """A digest of our own source as it is imported: another state, other results."""
    digest = hashlib.sha256()
    for package in MEASURED_CODE:
        specification = importlib.util.find_spec(package)
        for folder in (specification.submodule_search_locations or ()) if specification else ():
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def commit() -> str:
    """The commit of the measured source, with a plus where the source differs from it, or ``""`` without git."""
    specification = importlib.util.find_spec("xai_med")
    if specification is None or not specification.submodule_search_locations:
        return ""
    folder = Path(specification.submodule_search_locations[0])
    found = _git(folder, "rev-parse", "--short", "HEAD")
    changed = _git(folder.parent, "status", "--porcelain", "--", "xai_med", "backends")
    return found + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    try:
        asked = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return asked.stdout.strip()


def machine() -> dict[str, Any]:
    """Processor, cores, memory and kind of system."""
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}, {platform.machine()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Of frameworks and libraries; ``""`` where one is not installed."""
    return {name: version_of(name) for name in (*DISTRIBUTIONS, *(each.distribution for each in LIBRARIES.values()))}


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> float:
    """How many processes wanted to run, in the last minute; NaN where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
