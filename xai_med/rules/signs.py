"""Counts the operations that share out among inputs below zero, of which a method's paper may say nothing."""

from collections import Counter
from dataclasses import dataclass, replace

from xai_med.backend.operations import Operation
from xai_med.backend.rule import Composite, Rule
from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.checks import Check
from xai_med.rules.passing import Pass


@dataclass(frozen=True, eq=False)
class _NotingSigns:
    """A rule that notes for each operation that it met whether it has inputs below zero."""

    rule: Rule
    noted: list[tuple[str, bool]]

    @property
    def name(self) -> str:
        """Of the rule."""
        return self.rule.name

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the rule's surrogate."""
        smallest = (tensors.amin(tensors.stop_gradient(x), range(len(shape_of(x)))) for x in operation.inputs)
        self.noted.append((operation.name, any(bool(value < 0) for value in smallest)))
        return self.rule(operation, tensors)


def noting_signs(rules: Composite) -> tuple[Composite, list[tuple[str, bool]]]:
    """The same rules, and for each operation whose inputs get shares, its name and whether any is below zero."""
    noted: list[tuple[str, bool]] = []
    changed = {kind: rule if rule == Pass() else _NotingSigns(rule, noted) for kind, rule in rules.rules.items()}
    placed = tuple(replace(each, rule=_NotingSigns(each.rule, noted)) for each in rules.placed)
    return replace(rules, rules=changed, placed=placed), noted


def signs_check(noted: list[tuple[str, bool]]) -> Check:
    """How many operations shared out among inputs below zero, of which the paper says nothing."""
    names = Counter(name for name, is_below in noted if is_below)
    listed = ", ".join(f"{name} {count}" for name, count in names.most_common())
    note = f"{listed}; the paper has none, and what adds to an output is taken to excite it" if listed else ""
    return Check(
        "operations with inputs below zero",
        float(names.total()),
        note=note,
        is_count=True,
        key="signed_inputs",
        out_of=len(noted),
    )
