"""The goals, and whether they are met."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from benchmarks.libraries.table import OURS
from benchmarks.outcome import Outcome
from benchmarks.spread import Spread

Judgement = Literal["met", "stretch met", "not met", "not measured"]
Quantity = Literal["wall_ratio", "wall_s", "memory_ratio", "memory_mib", "largest_float64"]
UNITS: Mapping[Quantity, str] = {
    "wall_ratio": "×",
    "wall_s": "s",
    "memory_ratio": "× forward",
    "memory_mib": "MiB",
    "largest_float64": "of the largest value",
}

SPEED_WORKLOADS = (
    "densenet121-b1",
    "densenet121-b8",
    "resnet50-b1",
    "resnet50-b8",
    "paddle-densenet121-b1",
    "paddle-densenet121-b8",
    "paddle-resnet50-b1",
    "paddle-resnet50-b8",
)
MEMORY_WORKLOADS = ("densenet121-b8", "paddle-densenet121-b8")
GROWING_WORKLOADS = ("resnet18-1000",)


@dataclass(frozen=True)
class Goal:
    """One number that we want to stay below.

    Parameters
    ----------
    title : str
    kind, job : str
        Of the outcome.
    quantity : str
        What of it: `spreads` by their name, or memory, in MiB or against a plain forward pass.
    limit : float
        Of the median.
    stretch : float, optional
        What we should like.
    workloads : tuple of str
        On which it is judged.
    """

    title: str
    kind: str
    job: str
    quantity: Quantity
    limit: float
    stretch: float | None = None
    workloads: tuple[str, ...] = SPEED_WORKLOADS


def _speed(title: str, job: str, limit: float, stretch: float | None = None) -> Goal:
    return Goal(title, "speed", job, "wall_ratio", limit, stretch)


GOALS = (
    _speed("CAM, 14 classes", "cam_14", 1.03),
    _speed("Grad-CAM, last layer, 1 class", "grad_cam_1", 1.03),
    _speed("Grad-CAM, last layer, 14 classes", "grad_cam_14", 1.05),
    _speed("Grad-CAM, middle layer, 14 classes", "grad_cam_middle_14", 5),
    _speed("gradient, 1 class", "gradient_1", 2.2),
    _speed("gradient, 14 classes", "gradient_14", 14, 11),
    _speed("LRP-ε-Z⁺, 1 class", "lrp_1", 3.6),
    _speed("LRP-ε-Z⁺, 14 classes", "lrp_14", 18, 14.5),
    _speed("guided backprop, 14 classes", "guided_14", 14),
    _speed("deconvnet, 14 classes", "deconvnet_14", 14),
    _speed("CLEAR, 14 classes, arg max and HSV", "clear_14", 16),
    Goal("peak memory, Grad-CAM, 1 class", "memory", "grad_cam_1", "memory_ratio", 1.5, None, MEMORY_WORKLOADS),
    Goal("peak memory, Grad-CAM, 14 classes", "memory", "grad_cam_14", "memory_ratio", 1.5, None, MEMORY_WORKLOADS),
    Goal("peak memory, LRP, 14 classes", "memory", "lrp_14", "memory_mib", 600, None, MEMORY_WORKLOADS),
    Goal("`import xai_med`", "import", "import", "wall_s", 0.2, None, ("",)),
    *(
        Goal(f"32 images together, `{method}`: time to that one by one", "batches", method, "wall_ratio", 1, None,
             GROWING_WORKLOADS)
        for method in ("cam", "grad_cam", "gradient", "lrp", "clear")
    ),
    *(
        Goal(f"32 images together, `{method}`: largest difference to one by one, float64", "batches", method,
             "largest_float64", 1e-7, None, GROWING_WORKLOADS)
        for method in ("cam", "grad_cam", "gradient", "lrp", "clear")
    ),
)  # fmt: skip
"""From the issue and the design; each in plain forward passes unless it says otherwise."""


@dataclass(frozen=True)
class Verdict:
    """One goal on one workload."""

    goal: Goal
    workload: str
    judgement: Judgement
    measured: Spread | None = None
    reason: str = ""


def judged(outcomes: Iterable[Outcome]) -> list[Verdict]:
    """Judge all goals by our own outcomes, the newest of each cell.

    Parameters
    ----------
    outcomes : iterable of Outcome
        Of all kinds; those of others do not count.
    """
    ours = {(each.kind, each.job, each.workload): each for each in outcomes if each.library == OURS}
    return [
        _judge(goal, workload, ours.get((goal.kind, goal.job, workload)))
        for goal in GOALS
        for workload in goal.workloads
    ]


def _judge(goal: Goal, workload: str, outcome: Outcome | None) -> Verdict:
    if outcome is None or outcome.status != "measured":
        return Verdict(goal, workload, "not measured", reason="" if outcome is None else outcome.reason)
    measured = quantity(outcome, goal.quantity)
    if measured.median > goal.limit:
        return Verdict(goal, workload, "not met", measured)
    is_stretched = goal.stretch is not None and measured.median <= goal.stretch
    return Verdict(goal, workload, "stretch met" if is_stretched else "met", measured)


def quantity(outcome: Outcome, name: Quantity) -> Spread:
    """The number of an outcome that a goal is about; for memory the larger of the first call's and a later one's."""
    if name in outcome.spreads:
        return outcome.spreads[name]
    if name in outcome.numbers:
        return Spread.of([outcome.numbers[name]])
    peaks = [outcome.numbers["first_mib"], outcome.numbers["later_mib"]]
    divisor = max(outcome.numbers["forward_mib"], 1e-9) if name == "memory_ratio" else 1.0
    return Spread.of([max(peaks) / divisor])
