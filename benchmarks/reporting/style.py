"""How pictures look: readable on light and dark pages, and the same each time they are drawn."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

INK = "#7d858d"
"""Grey that stands out from white and from near black alike."""
COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "xai_med": "#e0662b",
        "xai_med attribute": "#c99a1b",
        "captum": "#3f8fd2",
        "pytorch-grad-cam": "#8d6fd1",
        "torchcam": "#1f9e89",
        "zennit": "#c4588f",
        "MONAI": "#6f9a3a",
        "InterpretDL": "#5c7fa3",
        "cam": "#3f8fd2",
        "grad_cam": "#1f9e89",
        "gradient": "#c99a1b",
        "lrp": "#e0662b",
        "clear": "#8d6fd1",
        "forward": INK,
    }
)
MARKERS: Mapping[str, str] = MappingProxyType(
    {
        "xai_med": "o",
        "xai_med attribute": "o",
        "captum": "s",
        "pytorch-grad-cam": "^",
        "torchcam": "D",
        "zennit": "v",
        "MONAI": "P",
        "InterpretDL": "X",
        "cam": "s",
        "grad_cam": "D",
        "gradient": "^",
        "lrp": "o",
        "clear": "v",
    }
)
MANY_POWERS = 300.0
"""Between the ends of an axis, from where on only powers of ten are marked."""
_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "svg.hashsalt": "xai_med",
        "svg.fonttype": "path",
        "font.size": 9.5,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": INK,
        "grid.alpha": 0.22,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "lines.markersize": 5,
    }
)


@contextmanager
def figure_of(path: Path, *, columns: int, size: tuple[float, float], share_y: bool = False) -> Iterator[Any]:
    """Give figure and axes side by side to draw on, then write them.

    Parameters
    ----------
    path : Path
        Ends in ``.svg``.
    columns : int
        How many axes.
    size : tuple of float
        Width and height in inches.
    share_y : bool
        Whether all axes have the first one's vertical axis.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(dict(_SETTINGS)):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(1, columns, squeeze=False, sharey=share_y)[0]
        yield figure, axes
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None, "Creator": None})


def logarithmic_ticks(limits: tuple[float, float]) -> Any:
    """Ticks at 1, 2, 5 of each power of ten, or at powers alone where they are many."""
    from matplotlib.ticker import LogLocator

    is_short = limits[1] / limits[0] < MANY_POWERS
    return LogLocator(subs=(1.0, 2.0, 5.0) if is_short else (1.0,))
