"""Identities that were verified on a result, with their numbers."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from textwrap import wrap


@dataclass(frozen=True)
class Check:
    """One identity, measured on one result.

    Parameters
    ----------
    name : str
        What was compared.
    value : float
        The measured deviation, share or count; the largest over images and classes. NaN where it could not be
        measured; the note says why.
    tolerance : float or None
        What `value` may be; None where the number is information only.
    note : str
        In words.
    is_count : bool
        Whether values of several images add up; otherwise the largest counts.
    key : str
        Stable short name for programs, such as ``"cam_identity"``; made from `name` where none is given.
    out_of : int or None
        Of a count: how many were looked at.
    """

    name: str
    value: float
    tolerance: float | None = None
    note: str = ""
    is_count: bool = False
    key: str = ""
    out_of: int | None = None

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_"))

    @property
    def is_measured(self) -> bool:
        """Whether there is a number; a check that was asked for and could not be made has none."""
        return not math.isnan(self.value)

    @property
    def passed(self) -> bool:
        """Whether the value is within its tolerance; always true for information, never without a measurement."""
        return self.is_measured and (self.tolerance is None or self.value <= self.tolerance)

    @property
    def verdict(self) -> str:
        """``"passed"``, ``"FAILED"``, ``"not measured"``, or ``"noted"`` for information."""
        if not self.is_measured:
            return "not measured"
        if self.tolerance is None:
            return "noted"
        return "passed" if self.passed else "FAILED"

    @property
    def measured(self) -> str:
        """The number and what it may be, in words."""
        if not self.is_measured:
            return "not measured"
        number = f"{self.value:.3g}" if self.out_of is None else f"{self.value:,.0f} of {self.out_of:,}"
        return number + ("" if self.tolerance is None else f" (at most {self.tolerance:.3g})")

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.name}: {self.measured}{'; ' + self.note if self.note else ''}"


def unmeasured(name: str, why: str, *, key: str) -> Check:
    """A check that was asked for and could not be made; it does not pass."""
    return Check(name, math.nan, 0.0, note=why, key=key)


def check_lines(checks: Sequence[Check]) -> list[str]:
    """A table for people: verdict, key, number, and below it what was compared."""
    if not checks:
        return ["  checks: none"]
    verdicts = [check.verdict for check in checks]
    bad = sum(not check.passed for check in checks)
    made = sum(verdict != "noted" for verdict in verdicts)
    lines = [f"  checks: {made - bad} of {made} passed, {len(checks) - made} more noted"]
    wide, long = max(map(len, verdicts)), max(len(check.key) for check in checks)
    for check, verdict in zip(checks, verdicts, strict=True):
        number = "" if not check.is_measured else check.measured
        lines.append(f"    {verdict:<{wide}}  {check.key:<{long}}  {number}".rstrip())
        text = f"{check.name}{'; ' + check.note if check.note else ''}"
        lines += wrap(text, 110, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return lines


def joined_checks(several: Sequence[Sequence[Check]]) -> tuple[Check, ...]:
    """Checks of several parts as one: counts are added up, of deviations the worst stays.

    What could not be measured for one part stays so.
    """
    by_key: dict[str, list[Check]] = {}
    for checks in several:
        for check in checks:
            by_key.setdefault(check.key, []).append(check)
    return tuple(_added(same) if same[0].is_count else max(same, key=_badness) for same in by_key.values())


def _added(same: list[Check]) -> Check:
    known = [check.out_of for check in same if check.out_of is not None]
    return replace(same[0], value=sum(check.value for check in same), out_of=sum(known) if known else None)


def _badness(check: Check) -> tuple[bool, float]:
    return (not check.is_measured, abs(check.value))
