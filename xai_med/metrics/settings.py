"""Settings of metrics, checked where they enter."""

import math
import operator
from collections.abc import Sequence
from typing import Any

from xai_med.errors import SettingError


def whole_number(value: Any, name: str, *, least: int) -> int:
    """Take a whole number that is at least `least`, or raise SettingError."""
    try:
        number = operator.index(value)
    except TypeError:
        raise SettingError(f"{name} is a whole number, got {value!r}") from None
    if isinstance(value, bool) or number < least:
        raise SettingError(f"{name} is a whole number and at least {least}, got {value!r}")
    return number


def amount(value: Any, name: str, *, above: float = -math.inf, least: float = -math.inf) -> float:
    """Take a finite number above `above` and at least `least`, or raise SettingError."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise SettingError(f"{name} is a number, got {value!r}") from None
    if not (math.isfinite(number) and number > above and number >= least):
        wanted = f"above {above:g}" if above > -math.inf else f"at least {least:g}"
        raise SettingError(f"{name} is a finite number {wanted}, got {value!r}")
    return number


def one_of(value: str, name: str, known: Sequence[str]) -> str:
    """Take one of some words, or raise SettingError."""
    if value not in known:
        raise SettingError(f"{name} is one of {', '.join(known)}; got {value!r}")
    return value
