"""Rules for the layer that reads the image, where activations are pixels and not evidence.

Each hands relevance to pixels by something other than ``pixel x weight``, so that a black pixel can receive some.
They are written on the probe, a tensor of ones that multiplies the input: what is pulled back to it is relevance.
"""

from collections.abc import Callable
from dataclasses import dataclass

from xai_med.backend.operations import Operation
from xai_med.backend.tensors import Tensor, Tensors
from xai_med.errors import UnsupportedOperationError
from xai_med.rules.stabilise import redistribute


@dataclass(frozen=True)
class Flat:
    """Relevance spread evenly over the receptive field: ``a = w = 1``.

    References
    ----------
    Lapuschkin et al. 2019, doi:10.1038/s41467-019-08987-4, methods.
    """

    epsilon: float = 1e-6

    @property
    def name(self) -> str:
        """Rule and setting."""
        return f"flat({self.epsilon:g})"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of the first layer."""
        parts = on_probe(operation, lambda weight: weight * 0 + 1)
        return redistribute(parts, operation.value, self.epsilon, tensors)


@dataclass(frozen=True)
class WSquare:
    """Relevance in proportion to squared weights.

    References
    ----------
    Montavon et al. 2017, arXiv:1512.02479, section 4.1.1.
    """

    epsilon: float = 1e-6

    @property
    def name(self) -> str:
        """Rule and setting."""
        return f"w_square({self.epsilon:g})"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of the first layer."""
        parts = on_probe(operation, lambda weight: weight * weight)
        return redistribute(parts, operation.value, self.epsilon, tensors)


def on_probe(operation: Operation, change: Callable[[Tensor], Tensor], *, of: Tensor | None = None) -> Tensor:
    """Apply the first layer with changed weights and no bias to the probe, or to `of`."""
    probe, details = probe_of(operation), operation.details
    if details.linear_map is None:
        raise UnsupportedOperationError(f"the backend gives no way to re-apply {operation.name}")
    return details.linear_map(probe if of is None else of, change(details.weight), None)


def probe_of(operation: Operation) -> Tensor:
    """The ones by which the input was multiplied.

    Raises
    ------
    UnsupportedOperationError
        The operation does not read the input, or has no weights.
    """
    if operation.probe is None or operation.details.weight is None:
        raise UnsupportedOperationError(
            f"a first-layer rule was given, but {operation.name} does not read the network's input itself"
        )
    return operation.probe
