"""The goals and what came of them, as tables."""

from collections import Counter
from collections.abc import Iterable, Sequence

from benchmarks.goals import UNITS, Goal, Verdict
from benchmarks.reporting.tables import NOTHING, escaped, markdown, number
from benchmarks.spread import Spread

MOST_COLUMNS = 4


def goals_tables(verdicts: Sequence[Verdict], *, only_measured: bool = False) -> list[str]:
    """Goals by the places where they are judged; in a cell what was measured, and the judgement.

    Parameters
    ----------
    verdicts : sequence of Verdict
    only_measured : bool
        Leave out what was not.
    """
    lines = []
    for places in dict.fromkeys(_places(verdict) for verdict in verdicts):
        chosen = [each for each in verdicts if _places(each) == places]
        shown = [each for each in chosen if each.judgement != "not measured" or not only_measured]
        columns = [place for place in places if any(each.workload == place for each in shown)]
        header = ["goal", "at most", "stretch", *(place or "measured" for place in columns)]
        lines += markdown(header, _rows(shown, columns)) if columns else []
    return lines


def counted(verdicts: Iterable[Verdict]) -> str:
    """How many are met, in one sentence."""
    counts = Counter(verdict.judgement for verdict in verdicts)
    met = counts["met"] + counts["stretch met"]
    words = f"{met} met"
    words += f" ({counts['stretch met']} with their stretch)" if counts["stretch met"] else ""
    return f"{words}, {counts['not met']} not met, {counts['not measured']} not measured."


def _places(verdict: Verdict) -> tuple[str, ...]:
    """The columns of the table that a verdict is in: where they are many, a goal's workloads of one framework."""
    if len(verdict.goal.workloads) <= MOST_COLUMNS:
        return verdict.goal.workloads
    is_paddle = verdict.workload.startswith("paddle")
    return tuple(each for each in verdict.goal.workloads if each.startswith("paddle") == is_paddle)


def _rows(verdicts: Sequence[Verdict], columns: Sequence[str]) -> list[list[str]]:
    found = {(each.goal, each.workload): each for each in verdicts}
    return [
        [goal.title, _limit(goal), NOTHING if goal.stretch is None else f"{goal.stretch:g}"]
        + [_cell(found.get((goal, column))) for column in columns]
        for goal in dict.fromkeys(each.goal for each in verdicts)
    ]


def _limit(goal: Goal) -> str:
    return f"{goal.limit:g} {UNITS[goal.quantity]}"


def _cell(verdict: Verdict | None) -> str:
    if verdict is None:
        return NOTHING
    if verdict.measured is None:
        return f"not measured{': ' + escaped(verdict.reason) if verdict.reason else ''}"
    judgement = "**not met**" if verdict.judgement == "not met" else verdict.judgement
    return f"{_measured(verdict.measured)} {judgement}"


def _measured(spread: Spread) -> str:
    if spread.count == 1:
        return _figure(spread.median)
    return f"{_figure(spread.median)} ({_figure(spread.low)}–{_figure(spread.high)})"


def _figure(value: float) -> str:
    if value < 0.001:
        return f"{value:.0e}" if value else "0"
    return f"{value:.3f}" if value < 2 else number(value)
