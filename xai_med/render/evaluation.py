"""The picture of an evaluation: a panel for each metric, a dot with its interval for each method."""

from typing import TYPE_CHECKING

import numpy as np

from xai_med._optional import optional_import
from xai_med.render.text import LITERAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xai_med.evaluation.result import Evaluation

_WIDTH, _ROW, _MARGIN = 2.6, 0.24, 1.1
_TITLES = {"higher": "higher is better", "lower": "lower is better", "": "describes only"}


def evaluation_figure(evaluation: "Evaluation") -> "Figure":
    """Draw means with intervals; methods in rows, in the order of the table.

    Parameters
    ----------
    evaluation : Evaluation
    """
    figure_class = optional_import("matplotlib.figure", extra="viz").Figure
    metrics, methods = evaluation.metrics, evaluation.methods
    figure = figure_class(figsize=(1.6 + _WIDTH * len(metrics), _MARGIN + _ROW * len(methods)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(metrics), sharey=True))
    places = np.arange(len(methods))
    for axis, metric in zip(axes, metrics, strict=True):
        judged = [evaluation.of(method, metric) for method in methods]
        means = np.array([each.estimate.mean for each in judged])
        low, high = (np.array([getattr(each.estimate, end) for each in judged]) for end in ("low", "high"))
        axis.hlines(places, np.where(np.isnan(low), means, low), np.where(np.isnan(high), means, high), color="0.6")
        axis.plot(means, places, "o", color="black", markersize=4)
        axis.set_title(f"{metric}\n({_TITLES[judged[0].better]})", fontsize=8, parse_math=LITERAL["parse_math"])
        axis.tick_params(labelsize=7)
        axis.grid(axis="x", color="0.9")
        axis.set_axisbelow(True)
    axes[0].set_yticks(places, methods, fontsize=8, **LITERAL)
    axes[0].invert_yaxis()
    figure.supxlabel(f"mean and 95 % interval over {evaluation.images} images; {evaluation.backend}", fontsize=7)
    return figure  # type: ignore[no-any-return]
