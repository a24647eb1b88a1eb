"""Counts which operations a set of rules was applied to, so that a result can say so."""

from collections import Counter
from dataclasses import dataclass, replace

from xai_med.backend.operations import Kind, Operation
from xai_med.backend.record import Node
from xai_med.backend.rule import Composite, Rule
from xai_med.backend.tensors import Tensor, Tensors
from xai_med.checks import Check


@dataclass(frozen=True, eq=False)
class _Counted:
    """A rule that writes down what it was applied to."""

    rule: Rule
    met: Counter[tuple[Kind, str]]
    where: str = ""

    @property
    def name(self) -> str:
        """Of the rule."""
        return self.rule.name

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the rule's surrogate."""
        self.met[operation.kind, f"{self.rule.name} {self.where}".rstrip()] += 1
        return self.rule(operation, tensors)


def counted(rules: Composite) -> tuple[Composite, Counter[tuple[Kind, str]]]:
    """The same rules, and how often each meets which kind of operation while the model runs under them."""
    met: Counter[tuple[Kind, str]] = Counter()
    changed = {kind: _Counted(rule, met) for kind, rule in rules.rules.items()}
    placed = tuple(replace(each, rule=_Counted(each.rule, met, each.where)) for each in rules.placed)
    first = None if rules.first is None else _Counted(rules.first, met)
    return replace(rules, rules=changed, placed=placed, first=first), met


def operations_check(logits: Node, met: Counter[tuple[Kind, str]], *, merges_batch_norm: bool = False) -> Check:
    """How many operations of which kind are on the way from the input to the logits, and which rules they met.

    Parameters
    ----------
    logits : Node
        End of the way.
    met : Counter
        Of kinds and rules.
    merges_batch_norm : bool
        Whether a batch norm that met no rule was merged with what it follows.
    """
    kinds = Counter(node.kind for node in logits.ancestors(carrying_only=True) if node.parents)
    parts = []
    for kind, count in kinds.most_common():
        rules = {name: times for (other, name), times in met.items() if other is kind}
        by_rule = [f"{name} {times}" for name, times in rules.items()]
        others = count - sum(rules.values())
        if others > 0:
            is_merged = kind is Kind.BATCH_NORM and merges_batch_norm
            by_rule.append(f"{'merged with the layer before' if is_merged else 'own derivative'} {others}")
        parts.append(f"{count} {kind.value}: {', '.join(by_rule)}")
    return Check("operations between input and logits", float(kinds.total()), note="; ".join(parts), key="operations")
