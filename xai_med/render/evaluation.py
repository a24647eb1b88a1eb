"""The picture of an evaluation: a panel for each metric, a dot with its interval for each method."""

from typing import TYPE_CHECKING, Any

import numpy as np

from xai_med._optional import optional_import
from xai_med.render.text import LITERAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xai_med.evaluation.result import Evaluation

_WIDTH, _ROW, _MARGIN, _COLUMNS = 2.4, 0.24, 0.7, 4
_TITLES = {"higher": "higher is better", "lower": "lower is better", "": "describes only"}


def evaluation_figure(evaluation: "Evaluation") -> "Figure":
    """Draw means with intervals: methods in rows, in the order of the table; at most four panels side by side.

    Parameters
    ----------
    evaluation : Evaluation
    """
    figure_class = optional_import("matplotlib.figure", extra="viz").Figure
    metrics, methods = evaluation.metrics, evaluation.methods
    columns = min(_COLUMNS, len(metrics))
    rows = -(-len(metrics) // columns)
    size = (1.6 + _WIDTH * columns, 0.3 + rows * (_MARGIN + _ROW * len(methods)))
    figure = figure_class(figsize=size, layout="constrained")
    axes = np.atleast_2d(figure.subplots(rows, columns, sharey=True, squeeze=False))
    for axis, metric in zip(axes.ravel(), metrics, strict=False):
        _panel(axis, evaluation, metric)
    for axis in axes.ravel()[len(metrics) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_yticks(np.arange(len(methods)), methods, fontsize=8, **LITERAL)
    axes[0, 0].invert_yaxis()
    figure.supxlabel(f"mean and 95 % interval over {evaluation.images} images; {evaluation.backend}", fontsize=7)
    return figure  # type: ignore[no-any-return]


def _panel(axis: Any, evaluation: "Evaluation", metric: str) -> None:
    judged = [evaluation.of(method, metric) for method in evaluation.methods]
    places = np.arange(len(judged))
    means = np.array([each.estimate.mean for each in judged])
    low, high = (np.array([getattr(each.estimate, end) for each in judged]) for end in ("low", "high"))
    axis.hlines(places, np.where(np.isnan(low), means, low), np.where(np.isnan(high), means, high), color="0.6")
    axis.plot(means, places, "o", color="black", markersize=4)
    axis.set_title(f"{metric}\n({_TITLES[judged[0].better]})", fontsize=8, parse_math=LITERAL["parse_math"])
    axis.tick_params(labelsize=7)
    axis.grid(axis="x", color="0.9")
    axis.set_axisbelow(True)
