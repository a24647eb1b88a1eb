"""Other derivatives at rectifiers than the true one, and the models on which they can act."""

from collections import Counter
from dataclasses import dataclass

from xai_med.backend.network import Trace
from xai_med.backend.operations import Kind
from xai_med.backend.rule import Composite, Rule
from xai_med.checks import Check
from xai_med.covered import refuse_uncovered
from xai_med.errors import NotApplicableError
from xai_med.request import Explained
from xai_med.rules import counted, operations_check

_BLIND = frozenset({Kind.RELU, Kind.ACTIVATION, Kind.ATTENTION, Kind.UNKNOWN, Kind.RANDOM})


@dataclass(frozen=True, eq=False)
class Rectified:
    """Rules with one of its own for rectifiers.

    Parameters
    ----------
    rules : Composite
        To trace under.
    met : Counter
        What they were applied to, filled while the model runs.
    instead : str
        What to use for a model on which they cannot act.
    """

    rules: Composite
    met: Counter[tuple[Kind, str]]
    instead: str

    def look(self, explained: Explained, trace: Trace) -> tuple[Check, ...]:
        """Refuse models with other rectifiers than ReLUs, or none; say what the rule met.

        Raises
        ------
        NotApplicableError
            The model has no ReLU, or rectifies by a comparison.
        UnsupportedOperationError
            An activation of another kind.
        """
        refuse_uncovered(explained.logits.node, trace, self.rules.name, instead=self.instead)
        nodes = list(explained.logits.node.ancestors())
        masked = next((node for node in nodes if any(parent.kind is Kind.STEP for parent in node.parents)), None)
        if masked is not None:
            raise NotApplicableError(
                f"{masked.name} in {trace.layer_name(masked)!r} uses a comparison as a mask, a rectifier on which the "
                f"rule {self.rules.name!r} cannot act; use {self.instead}"
            )
        if not any(node.kind is Kind.RELU for node in nodes):
            raise NotApplicableError(
                f"the rule {self.rules.name!r} acts on ReLUs and the model has none on the way to the output; "
                f"use {self.instead}"
            )
        return (operations_check(explained.logits.node, self.met),)


def rectified(rule: Rule, *, instead: str) -> Rectified:
    """Rules under which derivatives pass ReLUs as `rule` says, and all else as it is."""
    rules, met = counted(Composite(f"ReLU {rule.name}", {Kind.RELU: rule}, frozenset(Kind) - _BLIND))
    return Rectified(rules, met, instead)
