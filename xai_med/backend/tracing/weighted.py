"""Convolutions and linear maps under rules: their outputs are promised, and made when they are first consumed.

A convolution followed by batch norm is one linear operation for relevance propagation. The output of a
convolution is therefore only promised: its first consumer sees what it follows. Batch norm merges with it, any
other consumer gets its own surrogate, and each is made once, however often it is consumed.
"""

from dataclasses import dataclass, replace

import numpy as np

from xai_med.backend.arguments import map_tensors
from xai_med.backend.framework import Framework
from xai_med.backend.operations import BatchStatistics, Call, Details, Kind, Operation
from xai_med.backend.rule import Composite, Rule
from xai_med.backend.tensors import Tensor, shape_of
from xai_med.backend.tracing.weak import TensorMap
from xai_med.errors import UnsupportedOperationError


@dataclass
class Promise:
    """The output of a weighted operation before its first consumer is known."""

    kind: Kind
    name: str
    details: Details
    rule: Rule
    probe: Tensor | None
    surrogate: Tensor | None = None


class WeightedOperations:
    """Makes the surrogates of operations with weights.

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
        self._promises: TensorMap[Promise] = TensorMap()
        self.first_input: Tensor | None = None
        self.probe: Tensor | None = None

    def resolve(self, tensor: Tensor) -> Tensor:
        """What a consumer sees of a tensor: the surrogate of a promised output, made now if need be."""
        promise = self._promises.get(tensor)
        if promise is None:
            return tensor
        if promise.surrogate is None:
            value = self._framework.tensors.stop_gradient(tensor)
            promise.surrogate = self._weighted(promise, promise.details, value)
        return promise.surrogate

    def merge(self, call: Call, details: Details) -> Tensor | None:
        """A batch norm as one operation with the weighted one before it; None where it stands alone."""
        if not self._rules.merges_batch_norm or details.statistics is None:
            return None
        promise = self._promises.get(details.signal)
        if promise is None or not self._may_merge(promise, details.signal):
            return None
        return self._merged(promise, details.statistics, call)

    def _may_merge(self, promise: Promise, value: Tensor) -> bool:
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

    def reads_input(self, details: Details) -> bool:
        """Whether an operation reads the network's input itself."""
        return self.resolve(details.signal) is self.first_input

    def promise(self, call: Call, details: Details, rule: Rule, *, is_first: bool) -> Tensor:
        """Run the plain operation, and remember what its consumers will see instead.

        Parameters
        ----------
        call, details
            The operation.
        rule : Rule
            Its own.
        is_first : bool
            Whether the rule is that of the first layer, which is written on the probe.
        """
        tensors = self._framework.tensors
        signal = self.resolve(details.signal)
        weight, bias = (None if t is None else tensors.stop_gradient(t) for t in (details.weight, details.bias))
        details = replace(details, signal=signal, weight=weight, bias=bias)
        if details.linear_map is None:
            raise UnsupportedOperationError(f"the backend gives no way to re-apply {call.name}")
        value = details.linear_map(tensors.stop_gradient(signal), weight, bias)
        promise = Promise(call.kind, call.name, details, rule, self.probe if is_first else None)
        if not self._rules.merges_batch_norm:
            return self._weighted(promise, details, value)
        self._promises.set(value, promise)
        return value

    def _weighted(self, promise: Promise, details: Details, value: Tensor) -> Tensor:
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

    def _merged(self, promise: Promise, statistics: BatchStatistics, call: Call) -> Tensor:
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
