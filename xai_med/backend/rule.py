"""What a set of rules is: which kinds of operation get another backward behaviour, which pass, which refuse."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from xai_med.backend.operations import WEIGHTED, Kind, Operation
from xai_med.backend.placed import Placed, by_depth, by_name
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
    """Rules by kind of operation, and for some places of a model.

    An operation gets the rule of the first layer, if it reads the image and there is one; else that of the last
    placed rule that holds; else its kind's.

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
    placed : tuple of Placed
        Rules for some places, as `at` and `layers` add them; a later one goes before an earlier.
    """

    name: str
    rules: Mapping[Kind, Rule]
    passing: frozenset[Kind]
    first: Rule | None = None
    merges_batch_norm: bool = False
    placed: tuple[Placed, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", MappingProxyType(dict(self.rules)))

    def at(self, pattern: str, rule: Rule, *, kinds: Iterable[Kind] = WEIGHTED) -> "Composite":
        """Return these rules with another one for the layers of some names.

        Parameters
        ----------
        pattern : str
            Of dotted names, as of files: ``"features.denseblock1.*"``, where ``*`` stands for anything, dots included.
            An operation belongs to the innermost module in which it runs.
        rule : Rule
            For what runs there. A rule refuses an operation that it cannot handle when the model runs.
        kinds : iterable of Kind
            Of operations that are meant: those with weights, unless told.

        Raises
        ------
        SettingError
            The pattern is no text, or the rule no rule. That a pattern matches nothing, or nothing that another rule
            would not take, shows when a model is explained, and is a `LayerError` there.
        """
        return self._with(by_name(pattern, rule, kinds))

    def layers(self, start: int, stop: int | None, rule: Rule) -> "Composite":
        """Return these rules with another one for some of the operations with weights, by depth.

        Parameters
        ----------
        start, stop : int, int or None
            As in a slice. Counted are convolutions, transposed convolutions and linear maps that depend on the image,
            in the order in which the model calls them, from 0, on all branches; None stands for all that follow.
            They cannot be counted from the end, as the rules act while the model runs.
        rule : Rule
            For these.

        Raises
        ------
        SettingError
            The numbers are no range, or the rule no rule. That the model has fewer such operations is a `LayerError`
            when it is explained.

        References
        ----------
        Montavon et al. 2019, doi:10.1007/978-3-030-28954-6_10, section 10.3: rules by depth.
        """
        return self._with(by_depth(start, stop, rule))

    def _with(self, placed: Placed) -> "Composite":
        return replace(self, name=f"{self.name} + {placed.rule.name} {placed.where}", placed=(*self.placed, placed))

    def covers(self, kind: Kind) -> bool:
        """Whether the composite has an answer for this kind."""
        return kind in self.rules or kind in self.passing

    def describe(self) -> tuple[str, ...]:
        """One line per rule, for the provenance of a result."""
        lines = [f"{kind.value}: {rule.name}" for kind, rule in self.rules.items()]
        lines += [f"{placed.where}: {placed.rule.name}" for placed in self.placed]
        if self.first is not None:
            lines.append(f"first layer: {self.first.name}")
        return tuple(lines)
