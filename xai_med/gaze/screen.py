"""How many pixels one degree of the visual field covers on a screen."""

import math
from dataclasses import dataclass

from xai_med.errors import SettingError


@dataclass(frozen=True)
class Screen:
    """A screen and its distance from the eye.

    Parameters
    ----------
    distance_mm : float
        Eye to screen.
    pitch_mm : float or (float, float)
        Size of a pixel; (horizontal, vertical) where they differ. A screen's width divided by its columns.
    """

    distance_mm: float
    pitch_mm: float | tuple[float, float]

    def __post_init__(self) -> None:
        if not (math.isfinite(self.distance_mm) and self.distance_mm > 0):
            raise SettingError(f"the distance to the screen is above 0 mm, got {self.distance_mm!r}")
        if not all(math.isfinite(pitch) and pitch > 0 for pitch in self._pitches):
            raise SettingError(f"the size of a pixel is above 0 mm, got {self.pitch_mm!r}")

    @property
    def _pitches(self) -> tuple[float, float]:
        pitch = self.pitch_mm
        return pitch if isinstance(pitch, tuple) else (float(pitch), float(pitch))

    @property
    def pixels_per_degree(self) -> tuple[float, float]:
        """Horizontally and vertically, in the middle of the screen: ``2 D tan(0.5 deg) / pitch``."""
        degree_mm = 2 * self.distance_mm * math.tan(math.radians(0.5))
        across, down = self._pitches
        return degree_mm / across, degree_mm / down
