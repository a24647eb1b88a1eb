"""The points of the curves: one axis grows, the others stay."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

METHODS = ("cam", "grad_cam", "gradient", "lrp", "clear")
CLASSES = 14
"""Explained where classes do not grow."""
AXES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "classes": (1, 14, 100, 1000),
        "batch": (1, 2, 4, 8, 16, 32),
        "size": (224, 384, 512, 768, 1024),
    }
)
QUICK: Mapping[str, tuple[int, ...]] = MappingProxyType({"classes": (1, 14), "batch": (1, 4), "size": (64, 128)})


@dataclass(frozen=True)
class Point:
    """One point of one method's curve."""

    axis: str
    value: int
    method: str

    @property
    def job(self) -> str:
        """As the job of an outcome."""
        return f"{self.axis}={self.value}: {self.method}"

    @classmethod
    def read(cls, job: str) -> "Point":
        """From what `job` gave."""
        place, _, method = job.partition(": ")
        axis, _, value = place.partition("=")
        return cls(axis, int(value), method)

    def shape(self, usual: tuple[int, ...]) -> tuple[int, ...]:
        """Of the batch, (N, C, *space)."""
        batch, channels, *space = usual
        if self.axis == "batch":
            batch = self.value
        if self.axis == "size":
            space = [self.value] * len(space)
        return batch, channels, *space

    @property
    def classes(self) -> int:
        """How many are explained."""
        return self.value if self.axis == "classes" else CLASSES
