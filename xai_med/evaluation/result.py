"""The frozen table of an evaluation."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError, UnknownNameError
from xai_med.metrics import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Judgement:
    """One method under one metric.

    Parameters
    ----------
    method, metric : str
    values : ndarray of shape (N, K), float64
        One per image and score; NaN where the metric does not exist.
    estimate : Estimate
        Mean over all, with an interval from resampling images.
    better : str
        ``"higher"``, ``"lower"``, or empty.
    """

    method: str
    metric: str
    values: Array
    estimate: Estimate
    better: str


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Every method under every metric.

    Parameters
    ----------
    judgements : tuple of Judgement
        Methods in their order, metrics in theirs.
    refused : mapping of str to str
        Methods that refused the model or target, and why.
    images, scores : int
        How many images, and explained scores of each.
    backend : str
    seconds : mapping of str to float
        Per method: of explaining all images, not of judging.
    """

    judgements: tuple[Judgement, ...]
    refused: Mapping[str, str]
    images: int
    scores: int
    backend: str
    seconds: Mapping[str, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "refused", MappingProxyType(dict(self.refused)))
        object.__setattr__(self, "seconds", MappingProxyType(dict(self.seconds)))
        for each in self.judgements:
            each.values.setflags(write=False)

    @property
    def methods(self) -> tuple[str, ...]:
        """Those that did not refuse."""
        return tuple(dict.fromkeys(each.method for each in self.judgements))

    @property
    def metrics(self) -> tuple[str, ...]:
        """In their order."""
        return tuple(dict.fromkeys(each.metric for each in self.judgements))

    def of(self, method: str, metric: str) -> Judgement:
        """One cell of the table.

        Raises
        ------
        UnknownNameError
            There is no such cell.
        """
        for each in self.judgements:
            if (each.method, each.metric) == (method, metric):
                return each
        why = f"; {method!r} refused: {self.refused[method]}" if method in self.refused else ""
        raise UnknownNameError(
            f"{method!r} was not judged by {metric!r}; methods are {', '.join(self.methods)}, metrics are "
            f"{', '.join(self.metrics)}{why}"
        )

    def rows(self) -> list[dict[str, Any]]:
        """One mapping per cell, as for ``pandas.DataFrame(evaluation.rows())``."""
        return [
            {
                "method": each.method,
                "metric": each.metric,
                "mean": each.estimate.mean,
                "low": each.estimate.low,
                "high": each.estimate.high,
                "cases": each.estimate.images,
                "undefined": each.estimate.undefined,
                "better": each.better,
            }
            for each in self.judgements
        ]

    def table(self, *, intervals: bool = True) -> str:
        """Rows of methods and columns of metrics in Markdown; the best mean of each column is bold."""
        heads = [f"{metric}{_ARROWS[self._better(metric)]}" for metric in self.metrics]
        lines = ["| method | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
        best = {metric: self._best(metric) for metric in self.metrics}
        for method in self.methods:
            cells = [
                _cell(self.of(method, metric).estimate, intervals, is_best=method in best[metric])
                for metric in self.metrics
            ]
            lines.append(f"| `{method}` | " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def __str__(self) -> str:
        """The table, and who refused."""
        refused = [f"refused {name}: {why}" for name, why in self.refused.items()]
        head = f"{self.images} images, {self.scores} scores each, by {self.backend}; mean (95 % interval)"
        return "\n".join([head, self.table(), *refused])

    def save(self, path: str | PathLike[str]) -> Path:
        """Write ``.csv`` (every value), ``.md`` (the table), or a picture (``.png``, ``.pdf``, ``.svg``).

        Raises
        ------
        SettingError
            The ending is not known.
        """
        path = Path(path)
        if path.suffix == ".csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(("method", "metric", "image", "score", "value"))
                for each in self.judgements:
                    for (image, score), value in np.ndenumerate(each.values):
                        writer.writerow((each.method, each.metric, image, score, repr(float(value))))
        elif path.suffix == ".md":
            path.write_text(f"{self}\n", encoding="utf-8")
        elif path.suffix in (".png", ".pdf", ".svg"):
            from xai_med.render import save_figure

            save_figure(self.figure(), path)
        else:
            raise SettingError(f"{path.name!r} ends in {path.suffix!r}; use .csv, .md, .png, .pdf or .svg")
        return path

    def figure(self) -> "Figure":
        """Draw a panel for each metric: the mean of each method with its interval.

        Raises
        ------
        MissingDependencyError
            matplotlib is not installed.
        """
        from xai_med.render.evaluation import evaluation_figure

        return evaluation_figure(self)

    def _better(self, metric: str) -> str:
        return next(each.better for each in self.judgements if each.metric == metric)

    def _best(self, metric: str) -> Sequence[str]:
        better = self._better(metric)
        means = {method: self.of(method, metric).estimate.mean for method in self.methods}
        known = [mean for mean in means.values() if not np.isnan(mean)]
        if not better or not known:
            return ()
        best = max(known) if better == "higher" else min(known)
        return [method for method, mean in means.items() if mean == best]


_ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}


def _cell(estimate: Estimate, intervals: bool, *, is_best: bool) -> str:
    if np.isnan(estimate.mean):
        return "undefined"
    mean = f"**{estimate.mean:.3g}**" if is_best else f"{estimate.mean:.3g}"
    without = f", {estimate.undefined} undefined" if estimate.undefined else ""
    if not intervals or np.isnan(estimate.low):
        return mean + without
    return f"{mean} ({estimate.low:.3g} to {estimate.high:.3g}{without})"
