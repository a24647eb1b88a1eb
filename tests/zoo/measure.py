"""One cell of the table: ask the library about a model by one method, and let the oracle judge the answer."""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from xai_med import Classes, Explanation, Mask, XaiMedError, explain
from zoo import oracles
from zoo.lrp_oracle import lrp
from zoo.oracles import Verdict
from zoo.reference import Question

METHODS = ("cam", "grad_cam", "gradient", "lrp", "clear")
ORACLES: Mapping[str, Callable[[Question, Explanation], Verdict]] = MappingProxyType(
    {
        "cam": oracles.cam,
        "grad_cam": oracles.grad_cam,
        "gradient": oracles.gradient,
        "lrp": lrp,
        "clear": oracles.clear,
    }
)
FAR_APART = 1e-2
"""Of Grad-CAM in float32 and the positive part of its signed sum in float64, which the oracle looks at."""

WORKS, REFUSED, WRONG, RAW_ERROR, UNCHECKED = "works", "refused", "WRONG", "raw error", "no oracle"


@dataclass(frozen=True)
class Cell:
    """What came of one model and one method.

    Parameters
    ----------
    status : str
        One of the five above.
    residual : float or None
        Of the oracle, in float64.
    narrow : float or None
        How far the answer in float32 is from that in float64: norm of the difference over norm.
    layer : str or None
        Where the attribution arose.
    message : str
        Of a refusal or error; else what the oracle adds.
    seconds : float
        That the library took in float32.
    """

    status: str
    residual: float | None = None
    narrow: float | None = None
    layer: str | None = None
    message: str = ""
    seconds: float = 0.0


def measured(question: Question, method: str) -> Cell:
    """Explain in float32 as a user does, then in float64 for the oracle.

    Parameters
    ----------
    question : Question
        About one model.
    method : str
        One of `METHODS`.
    """
    begun = time.perf_counter()
    try:
        narrow = asked(question, method)
        seconds = time.perf_counter() - begun
        signed = {"relu": False} if method == "grad_cam" else {}
        wide = asked(question, method, dtype="float64", **signed)
    except XaiMedError as error:
        return Cell(REFUSED, message=f"{type(error).__name__}: {error}", seconds=time.perf_counter() - begun)
    except Exception as error:  # noqa: BLE001  # whatever escapes is what the table is to show
        return Cell(RAW_ERROR, message=f"{type(error).__name__}: {error}", seconds=time.perf_counter() - begun)
    if not wide.attribution.any():
        return Cell(UNCHECKED, message="the answer is zero everywhere", seconds=seconds)
    verdict = ORACLES[method](question, wide)
    expected = np.maximum(wide.attribution, 0) if signed else wide.attribution
    apart = float(np.linalg.norm(narrow.attribution - expected) / np.linalg.norm(wide.attribution))
    objections = [verdict.note] if verdict.note else []
    if signed and not apart < FAR_APART:
        objections.append("the published map is not the positive part of the signed sum")
    if np.abs(wide.scores - question.scores).max() > 1e-9 * np.abs(question.scores).max():
        objections.append("the scores are not the model's")
    is_right = verdict.holds and len(objections) == len(verdict.note[:1])
    status = WORKS if is_right else WRONG if verdict.is_checked else UNCHECKED
    return Cell(status, verdict.residual, apart, wide.layer, "; ".join(objections), seconds)


def asked(question: Question, method: str, **options: Any) -> Explanation:
    """The library's answer."""
    architecture = question.architecture
    if method == "grad_cam" and architecture.layer is not None:
        options = {"layer": architecture.layer, **options}
    target = Mask(question.classes[0], question.mask) if architecture.is_dense else Classes(*question.classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return explain(
            question.model,
            question.images.astype(np.float32),
            method=method,
            target=target,
            output=architecture.output,
            **options,
        )
