"""Applies rules to a stream of operations; decides each output's surrogate when it is first consumed.

A convolution followed by batch norm is one linear operation for relevance propagation. The output of a
convolution is therefore only promised: its first consumer sees what it follows. Batch norm merges with it, any
other consumer gets its own surrogate, and each is made once, however often it is consumed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xai_med.backend.arguments import map_tensors
from xai_med.backend.framework import Framework
from xai_med.backend.operations import BatchStatistics, Call, Details, Kind, Operation
from xai_med.backend.rule import Composite, Rule
from xai_med.backend.tensors import Tensor, shape_of
from xai_med.backend.weak import TensorMap
from xai_med.errors import UnsupportedOperationError

_WEIGHTED = frozenset({Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION, Kind.LINEAR})
_LINEAR_IN_ONE = frozenset({Kind.MULTIPLY, Kind.MATMUL, Kind.DIVIDE})


@dataclass
class _Promise:
    """The output of a weighted operation before its first consumer is known."""

    kind: Kind
    name: str
    details: Details
    rule: Rule
    probe: Tensor | None
    surrogate: Tensor | None = None


class Surrogates:
    """Runs the operations of a traced model under a composite of rules.

    Parameters
    ----------
    framework : Framework
        Of the model.
    rules : Composite
        By kind of operation.
    """

    def __init__(self, framework: Framework, rules: Composite) -> None:
        self._framework = framework
        self._rules = rules
        self._promises: TensorMap[_Promise] = TensorMap()
        self.first_input: Tensor | None = None
        self.probe: Tensor | None = None

    def covers(self, call: Call, details: Details, is_signal: Callable[[object], bool]) -> bool:
        """Whether the rules in force have an answer for this call."""
        kind = call.kind
        if kind in _WEIGHTED and (is_signal(details.weight) or is_signal(details.bias)):
            return False
        if kind in _LINEAR_IN_ONE and not self._rules.covers(kind):
            signals = [value for value in (*call.args, *call.kwargs.values()) if is_signal(value)]
            is_numerator = kind is not Kind.DIVIDE or bool(call.args and signals and signals[0] is call.args[0])
            return len(signals) <= 1 and is_numerator
        if kind is Kind.BATCH_NORM and details.statistics is None:
            return self._rules.covers(Kind.NORMALISATION)
        return self._rules.covers(kind)

    def resolve(self, tensor: Tensor) -> Tensor:
        """What a consumer sees of a tensor: the surrogate of a promised output, made now if need be."""
        promise = self._promises.get(tensor)
        if promise is None:
            return tensor
        if promise.surrogate is None:
            value = self._framework.tensors.stop_gradient(tensor)
            promise.surrogate = self._weighted(promise, promise.details, value)
        return promise.surrogate

    def run(self, call: Call, details: Details, is_signal: Callable[[object], bool]) -> Any:
        """Run one call of the model under the rules."""
        if not self._framework.is_recording():
            raise UnsupportedOperationError(
                f"the model runs {call.name} with gradients switched off (no_grad, or re-entrant checkpointing), "
                f"where no rule can act; explain the model without it"
            )
        if call.kind is Kind.BATCH_NORM and self._rules.merges_batch_norm and details.statistics is not None:
            promise = self._promises.get(details.signal)
            if promise is not None and self._may_merge(promise, details.signal):
                return self._merged(promise, details.statistics, call)
        rule = self._rules.rules.get(call.kind)
        if rule is None or not self.covers(call, details, is_signal):
            args, kwargs = map_tensors(self.resolve, call.args, call.kwargs, self._framework.is_tensor)
            return call.function(*args, **kwargs)
        if call.kind in _WEIGHTED:
            return self._promise(call, details, rule)
        return self._unweighted(call, details, rule, is_signal)

    # ---- operations with weights

    def _may_merge(self, promise: _Promise, value: Tensor) -> bool:
        """Whether a batch norm of a promised output is one operation with what made it."""
        if promise.details.output_axis is None:
            return False
        if promise.kind is Kind.LINEAR and len(shape_of(value)) != 2:
            return False  # the norm's channels are then not the linear map's outputs
        if promise.surrogate is None:
            return True
        # an earlier consumer may have written into the output, itself or through a view
        tensors = self._framework.tensors
        current, made = tensors.to_numpy(promise.surrogate), tensors.to_numpy(value)
        return bool(np.abs(current - made).max() <= 1e-5 * np.abs(made).max())

    def _promise(self, call: Call, details: Details, rule: Rule) -> Tensor:
        tensors = self._framework.tensors
        signal = self.resolve(details.signal)
        weight, bias = (None if t is None else tensors.stop_gradient(t) for t in (details.weight, details.bias))
        details = replace(details, signal=signal, weight=weight, bias=bias)
        is_first = self._rules.first is not None and signal is self.first_input
        if is_first and self._rules.first is not None:
            rule = self._rules.first
        if details.linear_map is None:
            raise UnsupportedOperationError(f"the backend gives no way to re-apply {call.name}")
        value = details.linear_map(tensors.stop_gradient(signal), weight, bias)
        promise = _Promise(call.kind, call.name, details, rule, self.probe if is_first else None)
        if not self._rules.merges_batch_norm:
            return self._weighted(promise, details, value)
        self._promises.set(value, promise)
        return value

    def _weighted(self, promise: _Promise, details: Details, value: Tensor) -> Tensor:
        operation = Operation(
            kind=promise.kind,
            name=promise.name,
            inputs=(details.signal,),
            value=value,
            apply=lambda signal: details.linear_map(signal, details.weight, details.bias),  # type: ignore[misc]
            details=details,
            probe=promise.probe,
        )
        return promise.rule(operation, self._framework.tensors)

    def _merged(self, promise: _Promise, statistics: BatchStatistics, call: Call) -> Tensor:
        """The weighted operation and its batch norm as one: w' = w * scale, b' = b * scale + shift."""
        tensors = self._framework.tensors
        details = promise.details
        shape = [1] * len(shape_of(details.weight))
        shape[details.output_axis or 0] = -1
        weight = details.weight * tensors.reshape(statistics.scale, shape)
        bias = statistics.shift if details.bias is None else details.bias * statistics.scale + statistics.shift
        args, kwargs = map_tensors(tensors.stop_gradient, call.args, call.kwargs, self._framework.is_tensor)
        value = tensors.stop_gradient(call.function(*args, **kwargs))
        return self._weighted(promise, replace(details, weight=weight, bias=bias), value)

    # ---- operations without weights

    def _unweighted(self, call: Call, details: Details, rule: Rule, is_signal: Callable[[object], bool]) -> Tensor:
        signals = list(_signals(call, is_signal))
        # without a signal there is nothing to share; a constant that is added is a bias, which keeps its share
        if not signals or (len(signals) < 2 and call.kind is Kind.ADD):
            args, kwargs = map_tensors(self.resolve, call.args, call.kwargs, self._framework.is_tensor)
            return call.function(*args, **kwargs)
        resolved = tuple(self.resolve(signal) for signal in signals)
        positions = {id(signal): position for position, signal in enumerate(signals)}

        def apply(*replacements: Tensor) -> Tensor:
            def change(tensor: Tensor) -> Tensor:
                position = positions.get(id(tensor))
                changed = self.resolve(tensor) if position is None else replacements[position]
                return self._framework.copy(changed) if call.writes_in_place else changed

            args, kwargs = map_tensors(change, call.args, call.kwargs, self._framework.is_tensor)
            return call.function(*args, **kwargs)

        tensors = self._framework.tensors
        value = apply(*(tensors.stop_gradient(tensor) for tensor in resolved))
        extra = value[1:] if isinstance(value, tuple) else ()
        operation = Operation(
            kind=call.kind,
            name=call.name,
            inputs=resolved,
            value=tensors.stop_gradient(value[0] if isinstance(value, tuple) else value),
            apply=apply,
            details=details,
        )
        result = rule(operation, tensors)
        if call.writes_in_place:
            target = self.resolve(call.args[0])
            self._framework.overwrite(target, result)
            return target
        return (result, *extra) if extra else result


def _signals(call: Call, is_signal: Callable[[object], bool]) -> list[Tensor]:
    """The tensors of a call, also inside lists, through which relevance flows; each once."""
    found: dict[int, Tensor] = {}
    for value in (*call.args, *call.kwargs.values()):
        for item in value if isinstance(value, list | tuple) else (value,):
            if is_signal(item):
                found.setdefault(id(item), item)
    return list(found.values())
