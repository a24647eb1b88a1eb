"""One method of one library put to one case."""

import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reliability import oracle
from reliability.convention import deviation
from reliability.kit import Kit
from reliability.net import Net, flat, plain
from reliability.subject import Map, Question, Subject
from reliability.verdict import Kind, Verdict

OUR_TOLERANCE = 1e-4
"""Largest difference of our maps from the oracle, of the map's largest value, in float32."""
PEERS_TOLERANCE = 1e-3
"""The same for others, whose conventions add rounding and stabilisers of their own."""


class RaisedError(Exception):
    """The library raised; the cause is what it raised."""


class DoesNotApplyError(Exception):
    """The case has no meaning for this library; says why."""


class _Said(logging.Handler):
    """What a library prints and logs: a warning there is a warning too."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.printed, self._logged = io.StringIO(), []

    def emit(self, record: logging.LogRecord) -> None:
        self._logged.append(record.getMessage())

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to all loggers."""
        root = logging.getLogger()
        root.addHandler(self)
        try:
            yield
        finally:
            root.removeHandler(self)

    @property
    def lines(self) -> tuple[str, ...]:
        """One line each."""
        return (*self._logged, *self.printed.getvalue().splitlines())


@dataclass(frozen=True, eq=False)
class Trial:
    """A subject and one of its methods, with what a case may ask of them."""

    subject: Subject
    method: str

    @property
    def kit(self) -> Kit:
        """The framework."""
        return self.subject.kit

    def usual_net(self, x: np.ndarray | None = None) -> Net:
        """The plain network; for guided signals, which start at one logit, the one without a pool."""
        return flat(self.kit) if self.method == "guided" else plain(self.kit, x)

    # ---- asking

    def ask(self, net: Net, **changes: Any) -> Map:
        """Put a question about a net to the library.

        Parameters
        ----------
        net : Net
        **changes
            Fields of the `Question` that are not the net's own: ``x``, ``target``, ``layer``, ``model``, ...

        Raises
        ------
        RaisedError
            From whatever the library raised.
        """
        question = self.question(net, **changes)
        said = _Said()
        with warnings.catch_warnings(record=True) as caught, redirect_stdout(said.printed), said.listening():
            warnings.simplefilter("always")
            found = self.put(question)
        return replace(found, notes=(*found.notes, *(str(warning.message) for warning in caught), *said.lines))

    def question(self, net: Net, **changes: Any) -> Question:
        """What `ask` puts to the library."""
        layer = net.layer if self.method in ("cam", "grad_cam") else None
        asked = Question(model=net.model, x=net.native, target=net.target, layer=layer)
        return replace(asked, **changes)

    def put(self, question: Question) -> Map:
        """Ask, with warnings left to the caller; for threads.

        Raises
        ------
        RaisedError
            From whatever the library raised.
        """
        try:
            return self.subject.methods[self.method](question)
        except DoesNotApplyError:
            raise
        except Exception as error:
            raise RaisedError from error

    # ---- expecting

    def expected(self, net: Net, targets: Sequence[int] | None = None, x: np.ndarray | None = None) -> np.ndarray:
        """The raw signed map by definition, (N, ...)."""
        count = len(net.x if x is None else x)
        targets = [net.target] * count if targets is None else targets
        if self.method == "lrp":
            return oracle.relevance(net, targets, self.subject.rule, x)
        return {
            "cam": oracle.cam,
            "grad_cam": oracle.grad_cam,
            "gradient": oracle.gradient,
            "clear": oracle.clear,
            "guided": oracle.guided,
        }[self.method](net, targets, x)

    @property
    def tolerance(self) -> float:
        """Of the largest value of a map."""
        return OUR_TOLERANCE if self.subject.is_ours else PEERS_TOLERANCE

    def compared(self, found: Map, net: Net, expected: np.ndarray, tolerance: float | None = None) -> Verdict:
        """Right within the tolerance, in the library's own convention."""
        tolerance = self.tolerance if tolerance is None else tolerance
        difference = deviation(found, expected, net.x.shape[2:])
        kind = Kind.RIGHT if difference <= tolerance else Kind.WRONG
        if np.isinf(difference):
            return Verdict(kind, f"of shape {found.values.shape}, of another shape or not blank where the true map is")
        return Verdict(kind, f"differs by {difference:.1e} of the map's size")

    def right(self, net: Net, *, tolerance: float | None = None, **asked: Any) -> Verdict:
        """The map is the oracle's."""
        expected = self.expected(net)
        return self.compared(self.ask(net, **asked), net, expected, tolerance)

    def refuses(self, net: Net, why: str, **asked: Any) -> Verdict:
        """A map, whatever it shows, is wrong."""
        found = self.ask(net, **asked)
        return Verdict(Kind.WRONG, f"{why}; a map came without a word, range {np.ptp(found.values):.2g}")

    def refuses_or_warns(self, net: Net, why: str, warning: str, **asked: Any) -> Verdict:
        """A map is wrong unless a warning or a note of the result names the trouble."""
        found = self.ask(net, **asked)
        return warned(found, warning) or Verdict(Kind.WRONG, f"{why}; a map came without a word")


def warned(found: Map, pattern: str) -> Verdict | None:
    """A refusal, where a note of the map matches."""
    for note in found.notes:
        if re.search(pattern, note, re.IGNORECASE):
            return Verdict(Kind.REFUSED, f"warned: {note[:120]}")
    return None


def changed(what: str, differences: Any) -> Verdict:
    """Right where there is no difference."""
    return Verdict(Kind.WRONG, f"{what}: {str(differences)[:160]}") if differences else Verdict(Kind.RIGHT)


def apart(first: np.ndarray, second: np.ndarray) -> float:
    """Largest difference relative to the second's largest value; infinite where the shapes differ."""
    if first.shape != second.shape:
        return float("inf")
    return float(np.abs(first - second).max() / max(np.abs(second).max(), 1e-30))
