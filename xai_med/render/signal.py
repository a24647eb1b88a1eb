"""One-dimensional signals coloured by their relevance, drawn on matplotlib axes."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xai_med._optional import optional_import
from xai_med.backend.tensors import Array
from xai_med.errors import ShapeError
from xai_med.maps.finite import finite_floats
from xai_med.render.colour import Scale, scaled_colours

BACKGROUND = "0.62"
"""Grey on which black, white, pale yellow, dark red and dark blue lines are all visible."""


def signal_channels(image: ArrayLike) -> Array:
    """Take a signal as float64 channels (C, L).

    Parameters
    ----------
    image : array-like of shape (L,) or (C, L)
        Any number of channels.
    """
    signal = finite_floats(image, "image").astype(np.float64)
    channels = signal[None] if signal.ndim == 1 else signal
    if channels.ndim != 2 or channels.size == 0:
        raise ShapeError(f"a signal has shape (L,) or (C, L), got {signal.shape}")
    return channels


def draw_signal(axes: Any, signal: Array) -> None:
    """Draw channels (C, L) as plain lines, the first on top; several are set apart by equal steps."""
    for line in _stacked(signal):
        axes.plot(line, color="black", linewidth=0.9)
    _finish(axes, signal)
    axes.set_xlabel("sample", fontsize=8)


def draw_relevant_signal(upper: Any, lower: Any, signal: Array, relevance: Array, *, scale: Scale) -> None:
    """Draw the signal coloured, and thicker, where relevant; below it the relevance as a curve.

    Parameters
    ----------
    upper, lower : matplotlib axes
        Sharing x.
    signal : ndarray of shape (C, L)
    relevance : ndarray of shape (L,)
        A piece of line between two samples gets the colour of their mean. All zero: a plain signal.
    scale : Scale
        Also the range of the curve.
    """
    if relevance.any():
        upper.set_facecolor(BACKGROUND)
        between = (relevance[:-1] + relevance[1:]) / 2 if relevance.size > 1 else relevance
        collection = optional_import("matplotlib.collections", extra="viz").LineCollection
        strength = np.minimum(np.abs(between) / scale.magnitude, 1.0)
        colours = scaled_colours(between, scale)
        for line in _stacked(signal):
            points = np.stack([np.arange(line.size), line], axis=1)
            pieces = np.stack([points[:-1], points[1:]], axis=1)
            upper.add_collection(collection(pieces, colors=colours, linewidths=1.0 + 2.0 * strength, capstyle="round"))
    else:
        for line in _stacked(signal):
            upper.plot(line, color="black", linewidth=0.9)
    _finish(upper, signal)
    upper.tick_params(labelbottom=False)
    lower.fill_between(np.arange(relevance.size), relevance, color="0.75", linewidth=0)
    lower.plot(relevance, color="black", linewidth=0.8)
    lower.axhline(0.0, color="0.4", linewidth=0.6)
    room = 0.05 * (scale.high - scale.low)
    lower.set_ylim(min(scale.low, relevance.min()) - room, max(scale.high, relevance.max()) + room)
    lower.set_ylabel("relevance", fontsize=8)
    lower.set_xlabel("sample", fontsize=8)
    lower.tick_params(labelsize=7)


def _stacked(signal: Array) -> Array:
    step = _step(signal)
    offsets: Array = signal - step * np.arange(len(signal))[:, None]
    return offsets


def _step(signal: Array) -> float:
    """Distance between channels: the largest range of one, a little more."""
    return 1.1 * (float(np.ptp(signal, axis=1).max()) or 1.0) if len(signal) > 1 else 0.0


def _finish(axes: Any, signal: Array) -> None:
    lines = _stacked(signal)
    low, high = float(lines.min()), float(lines.max())
    room = 0.08 * (high - low) or 1.0
    axes.set_xlim(0, max(signal.shape[1] - 1, 1))
    axes.set_ylim(low - room, high + room)
    axes.tick_params(labelsize=7)
    if len(signal) > 1:
        axes.set_yticks([line[0] for line in lines], labels=[f"channel {number}" for number in range(len(lines))])
