"""Applies rules to the stream of operations of a running model."""

from collections.abc import Callable
from typing import Any

from xai_med.backend.arguments import map_tensors
from xai_med.backend.framework import Framework
from xai_med.backend.operations import WEIGHTED, Call, Details, Kind, Operation
from xai_med.backend.placed import Placed
from xai_med.backend.record import Node
from xai_med.backend.rule import Composite, Rule
from xai_med.backend.tensors import Tensor, shape_of
from xai_med.backend.tracing.factors import weighing_factors
from xai_med.backend.tracing.weak import TensorMap
from xai_med.backend.tracing.weighted import WeightedOperations
from xai_med.errors import UnsupportedOperationError

_PRODUCTS = frozenset({Kind.MULTIPLY, Kind.MATMUL, Kind.DIVIDE})
_OF_ONE = frozenset({Kind.ACTIVATION, Kind.NORMALISATION, Kind.BATCH_NORM})


class Surrogates:
    """Runs the operations of a traced model under a composite of rules.

    Parameters
    ----------
    framework : Framework
        Of the model.
    rules : Composite
        By kind of operation.
    nodes : TensorMap of Node
        The record, as far as it goes.
    layer : callable
        Gives the dotted name of the innermost module that is running; asked only where rules are placed.
    """

    def __init__(
        self, framework: Framework, rules: Composite, nodes: TensorMap[Node], layer: Callable[[], str]
    ) -> None:
        self._framework = framework
        self._rules = rules
        self._nodes = nodes
        self._layer = layer
        self._weighted = WeightedOperations(framework, rules)
        self._count = 0  # of operations with weights
        self._placed: Placed | None = None  # what the call at hand gets

    def covers(self, call: Call, details: Details) -> bool:
        """Whether the rules in force have an answer for this call."""
        kind = call.kind
        if self._rules.placed:
            self._placed = self._placed_for(_kind_in_force(call, details))
        if kind in WEIGHTED:
            self._count += 1
            return self._covers(kind) and not (self._is_signal(details.weight) or self._is_signal(details.bias))
        if kind in self._rules.passing:
            return True
        if kind in _PRODUCTS:
            signals = self._signals(call)
            is_numerator = kind is not Kind.DIVIDE or bool(call.args and signals and signals[0] is call.args[0])
            return is_numerator and (len(signals) == 1 or (len(signals) == 2 and self._covers(kind)))
        if kind in _OF_ONE and len(self._signals(call)) > 1:
            return False
        kind = _kind_in_force(call, details)
        if kind is Kind.NORMALISATION and details.spread is None:
            return kind in self._rules.passing
        return self._covers(kind)

    def _placed_for(self, kind: Kind) -> Placed | None:
        """The rule by name or depth for the call at hand: the last that holds."""
        layer, depth = self._layer(), self._count if kind in WEIGHTED else None
        return next((placed for placed in reversed(self._rules.placed) if placed.holds(kind, layer, depth)), None)

    def _covers(self, kind: Kind) -> bool:
        return self._placed is not None or self._rules.covers(kind)

    def _rule(self, kind: Kind) -> Rule | None:
        return self._rules.rules.get(kind) if self._placed is None else self._placed.rule

    def judge(self, node: Node, call: Call, *, is_covered: bool) -> None:
        """Write into a new node what the rules make of its call: whether they cover it, which parents only weigh."""
        node.is_covered = is_covered
        node.placed = self._placed
        if call.kind in WEIGHTED:
            node.depth = self._count - 1
        node.weighing = self._weighing(call, node.shape)

    def _weighing(self, call: Call, shape: tuple[int, ...]) -> tuple[Node, ...]:
        """Producers of the signals that receive no relevance, as they only weigh others."""
        if call.kind not in (Kind.MULTIPLY, Kind.DIVIDE) or self._rule(call.kind) is None:
            return ()
        factors = self._producers(_each_once(self._signals(call)))
        return tuple(factors[position] for position in weighing_factors(call.kind, factors, shape))

    def _is_signal(self, value: object) -> bool:
        node = self._nodes.get(value)
        return node is not None and node.is_differentiable

    def _signals(self, call: Call) -> list[Tensor]:
        """The tensors of a call, also inside lists, through which relevance may flow, as often as they occur."""
        return [
            item
            for value in (*call.args, *call.kwargs.values())
            for item in (value if isinstance(value, list | tuple) else (value,))
            if self._is_signal(item)
        ]

    def resolve(self, tensor: Tensor) -> Tensor:
        """What a consumer sees of a tensor: the surrogate of a promised output, made now if need be."""
        return self._weighted.resolve(tensor)

    def begin(self, first_input: Tensor, probe: Tensor) -> None:
        """Note what the first layer reads, and the ones by which it was multiplied."""
        self._weighted.first_input, self._weighted.probe = first_input, probe

    def run(self, call: Call, details: Details, *, is_covered: bool) -> Any:
        """Run one call of the model under the rules, where they have an answer for it."""
        if not self._framework.is_recording():
            raise UnsupportedOperationError(
                f"the model runs {call.name} with gradients switched off (no_grad, or re-entrant checkpointing), "
                f"where no rule can act; explain the model without it"
            )
        if call.kind is Kind.BATCH_NORM:
            merged = self._weighted.merge(call, details)
            if merged is not None:
                self._placed = None
                return merged
        first = self._rules.first if call.kind in WEIGHTED and is_covered else None
        if first is not None and self._weighted.reads_input(details):
            self._placed = None
            return self._weighted.promise(call, details, first, is_first=True)
        rule = self._rule(_kind_in_force(call, details))
        if rule is None or not is_covered:
            args, kwargs = map_tensors(self.resolve, call.args, call.kwargs, self._framework.is_tensor)
            return call.function(*args, **kwargs)
        if call.kind in WEIGHTED:
            return self._weighted.promise(call, details, rule, is_first=False)
        return self._unweighted(call, details, rule)

    def _unweighted(self, call: Call, details: Details, rule: Rule) -> Tensor:
        occurrences = self._signals(call)
        signals = _each_once(occurrences)
        # without a signal there is nothing to share; a constant that is added is a bias, which keeps its share
        if not signals or (len(occurrences) < 2 and (call.kind is Kind.ADD or call.kind in _PRODUCTS)):
            args, kwargs = map_tensors(self.resolve, call.args, call.kwargs, self._framework.is_tensor)
            return call.function(*args, **kwargs)
        resolved = tuple(self.resolve(signal) for signal in signals)
        positions = {id(signal): position for position, signal in enumerate(signals)}
        written = call.args[0] if call.writes_in_place else None

        def apply(*replacements: Tensor) -> Tensor:
            def change(tensor: Tensor) -> Tensor:
                position = positions.get(id(tensor))
                changed = self.resolve(tensor) if position is None else replacements[position]
                return self._framework.copy(changed) if tensor is written else changed

            args, kwargs = map_tensors(change, call.args, call.kwargs, self._framework.is_tensor)
            return call.function(*args, **kwargs)

        tensors = self._framework.tensors
        value = apply(*(tensors.stop_gradient(tensor) for tensor in resolved))
        extra = value[1:] if isinstance(value, tuple) else ()  # such as what Paddle's einsum keeps for its derivative
        operation = Operation(
            kind=call.kind,
            name=call.name,
            inputs=resolved,
            value=tensors.stop_gradient(_result(value)),
            apply=lambda *replacements: _result(apply(*replacements)),
            details=details,
            factors=len(occurrences),
            weighing=self._weighing_positions(call, signals, value),
        )
        result = rule(operation, tensors)
        if call.writes_in_place:
            target = self.resolve(call.args[0])
            self._framework.overwrite(target, result)
            return target
        return (result, *extra) if extra else result

    def _weighing_positions(self, call: Call, signals: list[Tensor], value: Any) -> frozenset[int]:
        if call.kind not in (Kind.MULTIPLY, Kind.DIVIDE):
            return frozenset()
        return weighing_factors(call.kind, self._producers(signals), shape_of(value))

    def _producers(self, signals: list[Tensor]) -> list[Node]:
        return [node for node in map(self._nodes.get, signals) if node is not None]


def _result(value: Any) -> Tensor:
    """The first of several outputs."""
    return value[0] if isinstance(value, tuple) else value


def _kind_in_force(call: Call, details: Details) -> Kind:
    """The kind whose rule holds: a batch norm by the batch's own statistics is a normalisation."""
    is_sample_norm = call.kind is Kind.BATCH_NORM and details.statistics is None
    return Kind.NORMALISATION if is_sample_norm else call.kind


def _each_once(signals: list[Tensor]) -> list[Tensor]:
    return list({id(signal): signal for signal in signals}.values())
