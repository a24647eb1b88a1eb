"""Rules for some places of a model: by the name of the layer in which an operation runs, or by depth."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from xai_med.backend.operations import WEIGHTED, Kind
from xai_med.errors import SettingError

if TYPE_CHECKING:
    from xai_med.backend.rule import Rule


@dataclass(frozen=True)
class Placed:
    """A rule for the operations of some kinds at some place of a model, instead of their kind's rule.

    Parameters
    ----------
    rule : Rule
        What they get.
    kinds : frozenset of Kind
        Of which kinds.
    pattern : str or None
        Of the dotted name of the innermost module in which they run, as of a file: ``*`` stands for anything, dots
        included, ``?`` for one character, ``[abc]`` for one of several.
    depths : tuple of int and int or None, or None
        Their numbers among the operations with weights, as in a slice; no end takes all that follow.
    """

    rule: "Rule"
    kinds: frozenset[Kind]
    pattern: str | None = None
    depths: tuple[int, int | None] | None = None

    @property
    def where(self) -> str:
        """The place and the kinds, for the record."""
        kinds = "" if self.kinds == WEIGHTED else f" ({', '.join(sorted(kind.value for kind in self.kinds))})"
        if self.depths is None:
            return f"at {self.pattern!r}{kinds}"
        start, stop = self.depths
        return f"at layers {start} to {'the last' if stop is None else stop - 1}{kinds}"

    def holds(self, kind: Kind, layer: str, depth: int | None) -> bool:
        """Whether an operation is meant.

        Parameters
        ----------
        kind : Kind
            Its kind.
        layer : str
            Dotted name of the innermost module in which it runs; empty in the model's own ``forward``.
        depth : int or None
            Its number among the operations with weights, from 0, in the order of calls; None of any other.
        """
        if kind not in self.kinds or (self.pattern is not None and not fnmatchcase(layer, self.pattern)):
            return False
        if self.depths is None:
            return True
        start, stop = self.depths
        return depth is not None and start <= depth and (stop is None or depth < stop)


def by_name(pattern: str, rule: "Rule", kinds: Iterable[Kind]) -> Placed:
    """A rule by name, from what a caller gave.

    Raises
    ------
    SettingError
        The pattern is no text, the rule no rule, or there are no kinds.
    """
    if not isinstance(pattern, str) or not pattern:
        raise SettingError(f"a place is named by a pattern such as 'features.*', got {pattern!r}")
    chosen = frozenset(kinds)
    if not chosen or not all(isinstance(kind, Kind) for kind in chosen):
        raise SettingError(f"kinds must name at least one Kind, such as (Kind.CONVOLUTION,), got {kinds!r}")
    return Placed(_checked(rule), chosen, pattern=pattern)


def by_depth(start: int, stop: int | None, rule: "Rule") -> Placed:
    """A rule by depth, from what a caller gave.

    Raises
    ------
    SettingError
        The numbers are no range, or the rule no rule.
    """
    numbers = (start,) if stop is None else (start, stop)
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers) or start < 0:
        raise SettingError(
            f"layers are numbered from 0 at the input, got {start!r} to {stop!r}; how many there are shows only when "
            f"the model has run, so that they cannot be counted from the end"
        )
    if stop is not None and stop <= start:
        raise SettingError(f"layers {start} to {stop}, the last excluded, are none; give a stop above {start}, or None")
    return Placed(_checked(rule), WEIGHTED, depths=(start, stop))


def _checked(rule: "Rule") -> "Rule":
    if not callable(rule) or isinstance(rule, type):
        raise SettingError(f"a rule is a value such as Gamma(0.25), got {rule!r}")
    return rule
