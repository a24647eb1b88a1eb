"""Rules whose fixed parts stay fixed when the model runs again, so that difference quotients see what was pulled back.

A rule of relevance propagation is a surrogate, parts of which are held fixed by `stop_gradient`. The relevance of a
pixel is the derivative of the score by the pixel's probe with those parts held fixed. In a second run they would be
computed anew, from displaced values; here the first run's are taken in their place.
"""

from dataclasses import dataclass, field, replace
from typing import Any, cast

from xai_med.backend.operations import Operation
from xai_med.backend.rule import Composite, Rule
from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.verification.double import ImpossibleError


@dataclass(eq=False)
class FixedParts:
    """What the first run held fixed, in order; later runs take it from here.

    Parameters
    ----------
    values : list of tensors
        In order of use.
    position : int or None
        The next one to take; None while the first run is being recorded.
    """

    values: list[Tensor] = field(default_factory=list)
    position: int | None = None

    def rewind(self) -> None:
        """Begin another run."""
        self.position = 0

    def keep(self, tensor: Tensor) -> Tensor:
        """Remember a fixed part, or return what it was in the first run."""
        if self.position is None:
            self.values.append(tensor + 0)  # a copy: what is fixed may share memory that the model writes into
            return tensor
        if self.position >= len(self.values) or shape_of(self.values[self.position]) != shape_of(tensor):
            raise ImpossibleError("the model ran other operations on a displaced input than on the input itself")
        self.position += 1
        return self.values[self.position - 1]


class _FixingTensors:
    """The framework's operations, with `stop_gradient` as a fixed part."""

    def __init__(self, tensors: Tensors, parts: FixedParts) -> None:
        self._tensors = tensors
        self._parts = parts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tensors, name)

    def stop_gradient(self, tensor: Tensor) -> Tensor:
        """Hold fixed, over all runs."""
        return self._parts.keep(self._tensors.stop_gradient(tensor))

    def carry(self, surrogate: Tensor, value: Tensor) -> Tensor:
        """Carry what was missing in the first run, so that the value moves as the surrogate does."""
        return surrogate + self.stop_gradient(value - surrogate)


@dataclass(frozen=True, eq=False)
class _Frozen:
    """A rule with its fixed parts."""

    rule: Rule
    parts: FixedParts

    @property
    def name(self) -> str:
        """Of the rule."""
        return self.rule.name

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the rule's surrogate."""
        fixing = cast(Tensors, _FixingTensors(tensors, self.parts))
        return self.rule(replace(operation, value=self.parts.keep(operation.value)), fixing)


def frozen(rules: Composite) -> tuple[Composite, FixedParts]:
    """The same rules with fixed parts that are remembered from the first run on."""
    parts = FixedParts()
    changed: dict[Any, Rule] = {kind: _Frozen(rule, parts) for kind, rule in rules.rules.items()}
    placed = tuple(replace(each, rule=_Frozen(each.rule, parts)) for each in rules.placed)
    first = None if rules.first is None else _Frozen(rules.first, parts)
    return replace(rules, rules=changed, first=first, placed=placed), parts
