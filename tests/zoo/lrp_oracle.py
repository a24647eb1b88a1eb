"""Relevance written out layer by layer on a second recording of the model, compared cell by cell."""

from functools import lru_cache
from typing import Any

import numpy as np

from zoo.oracles import Verdict, unchecked
from zoo.reference import Question

SAME = 1e-7
"""Two orders of the same float64 sums, behind denominators that almost vanish."""
OF_TWINS = 1e-4
"""For Paddle models with a hard sigmoid, whose slope is 0.1666667 there and 1/6 in PyTorch."""


def lrp(question: Question, found: Any) -> Verdict:
    """Every value of the attribution, the sum of each map, and the lost share that the result states."""
    given = _written_out(question)
    if isinstance(given, str):
        return unchecked(given)
    expected, same = given
    if found.attribution.shape != expected.shape:
        return Verdict(np.inf, same, f"relevance of shape {found.attribution.shape}, images of {expected.shape}")
    arrived = expected.reshape(*expected.shape[:2], -1).sum(axis=2)
    lost = 1 - arrived / question.scores
    worst = float(lost.flat[np.abs(lost).argmax()])
    stated = next(check.value for check in found.checks if check.name == "lost share of relevance")
    residuals = (
        np.abs(found.attribution - expected).max() / np.abs(expected).max(),
        np.abs(found.attribution.sum(axis=2) - expected.sum(axis=2)).max() / np.abs(expected.sum(axis=2)).max(),
        abs(stated - worst) / max(1.0, abs(worst)),
    )
    return Verdict(float(max(residuals)), same, f"lost share {worst:.2g}")


@lru_cache(maxsize=1)
def _written_out(question: Question) -> tuple[np.ndarray, float] | str:
    """Relevance (N, K, C, *space) and how close it must be met, or why there is none."""
    from zoo.elementary import elementary
    from zoo.relevance import relevance

    recorded = elementary(_model(question), question.images, question.logits_in)
    logits = recorded.values[recorded.logits].numpy()[:, list(question.classes)]
    apart = np.abs(logits - question.scores).max() / np.abs(question.scores).max()
    if apart > 1e-5:
        return "the model that the oracle recorded gives other logits"
    try:
        found = np.stack([relevance(recorded, column) for column in question.classes], axis=1)
    except NotImplementedError as error:
        return str(error)
    return found, SAME if apart < 1e-10 else OF_TWINS


def _model(question: Question) -> Any:
    """The model in PyTorch, float64."""
    if question.architecture.framework == "torch":
        return question.runner.model
    from zoo.twin import torch_twin

    return torch_twin(question.architecture, question.model)
