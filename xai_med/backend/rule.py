"""What a set of rules is: which kinds of operation get another backward behaviour, which pass, which refuse."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from xai_med.backend.operations import Kind, Operation
from xai_med.backend.tensors import Tensor, Tensors


class Rule(Protocol):
    """A small value that replaces the output of one operation by a surrogate of the same value.

    The surrogate equals ``operation.value`` exactly; only its derivative differs.
    """

    @property
    def name(self) -> str:
        """The rule with its settings, for the record."""
        ...

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of the operation's output."""
        ...


@dataclass(frozen=True)
class Composite:
    """Rules by kind of operation.

    Parameters
    ----------
    name : str
        For the record.
    rules : mapping of Kind to Rule
        Kinds that get a surrogate.
    passing : frozenset of Kind
        Kinds whose own derivative is right as it is. Any other kind on the way is refused.
    first : Rule or None
        Rule of the layer that reads the network's input, instead of its kind's rule.
    merges_batch_norm : bool
        Whether a batch norm that directly follows a convolution or linear map becomes one operation with it.
    """

    name: str
    rules: Mapping[Kind, Rule]
    passing: frozenset[Kind]
    first: Rule | None = None
    merges_batch_norm: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", MappingProxyType(dict(self.rules)))

    def covers(self, kind: Kind) -> bool:
        """Whether the composite has an answer for this kind."""
        return kind in self.rules or kind in self.passing

    def describe(self) -> tuple[str, ...]:
        """One line per rule, for the provenance of a result."""
        lines = [f"{kind.value}: {rule.name}" for kind, rule in self.rules.items()]
        if self.first is not None:
            lines.append(f"first layer: {self.first.name}")
        return tuple(lines)
