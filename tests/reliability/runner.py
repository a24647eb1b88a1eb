"""Put every case to a library and classify what comes of it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from reliability.subject import Subject
from reliability.trial import DoesNotApplyError, RaisedError, Trial
from reliability.verdict import Case, Kind, Verdict


@dataclass(frozen=True)
class Outcome:
    """How one case ended for one library: method by method, and over all."""

    case: Case
    by_method: dict[str, Verdict]

    @property
    def kind(self) -> Kind:
        """The worst of its methods."""
        order = list(Kind)
        kinds = [verdict.kind for verdict in self.by_method.values()]
        return max(kinds, key=order.index, default=Kind.NOT_APPLICABLE)


def run(case: Case, subject: Subject) -> Outcome:
    """Run a case with every method that it concerns and the subject has."""
    if subject.kit.name not in case.frameworks:
        return Outcome(case, {})
    return Outcome(case, dict(_verdicts(case, subject)))


def _verdicts(case: Case, subject: Subject) -> Iterator[tuple[str, Verdict]]:
    for method in case.methods:
        if method not in subject.methods:
            continue
        try:
            yield method, case.run(Trial(subject, method))
        except DoesNotApplyError as reason:
            yield method, Verdict(Kind.NOT_APPLICABLE, str(reason))
        except RaisedError as raised:
            yield method, judged(raised.__cause__, case, subject)


def judged(error: BaseException | None, case: Case, subject: Subject) -> Verdict:
    """A refusal that names the trouble, or an unclear error."""
    if error is None or isinstance(error, SystemExit):
        raise RuntimeError("a library raised nothing that can be judged")
    message = " ".join(str(error).split())
    said = f"{type(error).__name__}: {message[:200]}"
    if subject.is_ours:
        clear = subject.is_refusal(error)
    else:
        clear = re.search(case.trouble, message, re.IGNORECASE) is not None
    return Verdict(Kind.REFUSED if clear else Kind.UNCLEAR, said)


def failures(outcome: Outcome) -> list[str]:
    """What our own library must not do: be wrong, be unclear, or refuse what must be right."""
    bad = {Kind.WRONG, Kind.UNCLEAR} | (set() if outcome.case.may_refuse else {Kind.REFUSED})
    return [f"{m}: {v.kind.value}; {v.reason}" for m, v in outcome.by_method.items() if v.kind in bad]
