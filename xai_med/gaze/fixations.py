"""What an eye tracker saw: raw samples, and the fixations among them."""

from dataclasses import dataclass

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import GazeError, ShapeError


@dataclass(frozen=True, eq=False)
class Samples:
    """Raw samples of gaze.

    Parameters
    ----------
    time_s : ndarray of shape (T,), float64
        Strictly rising.
    x, y : ndarray of shape (T,), float64
        In pixels of the image, x to the right and y down from the outer corner of its first pixel. NaN where the
        tracker lost the eye, as in a blink.
    """

    time_s: Array
    x: Array
    y: Array

    def __post_init__(self) -> None:
        _store(self, time_s=self.time_s, x=self.x, y=self.y)
        if not np.isfinite(self.time_s).all() or (np.diff(self.time_s) <= 0).any():
            raise GazeError("the times of samples must rise from each to the next; sort them, and drop doubles")

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.time_s)

    @property
    def is_seen(self) -> Array:
        """Whether the tracker saw the eye, sample by sample."""
        seen: Array = np.isfinite(self.x) & np.isfinite(self.y)
        return seen


@dataclass(frozen=True, eq=False)
class Fixations:
    """Places where the gaze rested.

    Parameters
    ----------
    x, y : ndarray of shape (F,), float64
        In pixels of the image, as in `Samples`.
    duration_s : ndarray of shape (F,), float64
        Above zero.
    start_s : ndarray of shape (F,), float64, optional
        When each began; NaN where it is not known.
    """

    x: Array
    y: Array
    duration_s: Array
    start_s: Array | None = None

    def __post_init__(self) -> None:
        start = np.full(np.shape(self.x), np.nan) if self.start_s is None else self.start_s
        _store(self, x=self.x, y=self.y, duration_s=self.duration_s, start_s=start)
        if not (np.isfinite(self.x).all() and np.isfinite(self.y).all()):
            raise GazeError("a fixation has no place (NaN); leave it out")
        if not (np.isfinite(self.duration_s).all() and (self.duration_s > 0).all()):
            worst = float(np.nanmin(self.duration_s)) if len(self.duration_s) else 0.0
            raise GazeError(f"durations of fixations are above 0 s, got {worst}; in which unit are they?")

    def __len__(self) -> int:
        """Return the number of fixations."""
        return len(self.x)

    def within(self, shape: tuple[int, int]) -> "Fixations":
        """Those that lie on an image of (H, W) pixels.

        Parameters
        ----------
        shape : (int, int)
            Of the image.
        """
        height, width = shape
        kept = (self.x >= 0) & (self.x < width) & (self.y >= 0) & (self.y < height)
        return self._only(kept)

    def moved(self, *, x: float = 0.0, y: float = 0.0, scale: float = 1.0) -> "Fixations":
        """In pixels of another image, such as from a screen to the image that was shown on it.

        Parameters
        ----------
        x, y : float
            Where the image's corner lay, in the old pixels; subtracted first.
        scale : float
            New pixels in one old pixel.
        """
        return Fixations((self.x - x) * scale, (self.y - y) * scale, self.duration_s, self.start_s)

    def _only(self, kept: Array) -> "Fixations":
        start = None if self.start_s is None else self.start_s[kept]
        return Fixations(self.x[kept], self.y[kept], self.duration_s[kept], start)


def _store(owner: object, **columns: object) -> None:
    arrays = {name: np.array(values, dtype=np.float64) for name, values in columns.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ShapeError(f"columns must be of one length, got {shapes}")
    for name, array in arrays.items():
        array.setflags(write=False)
        object.__setattr__(owner, name, array)
