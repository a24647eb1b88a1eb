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
        parts = _on_probe(operation, lambda weight: weight * 0 + 1)
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
        parts = _on_probe(operation, lambda weight: weight * weight)
        return redistribute(parts, operation.value, self.epsilon, tensors)


@dataclass(frozen=True)
class ZBox:
    """Contributions measured from the ends of the pixel range: ``a w - low [w]+ - high [w]-``.

    Parameters
    ----------
    low, high : float
        Range of the model's input, after its normalisation; pixels must lie within.

    References
    ----------
    Montavon et al. 2017, arXiv:1512.02479, section 4.1.3.
    """

    low: float
    high: float
    epsilon: float = 1e-6

    @property
    def name(self) -> str:
        """Rule and setting."""
        return f"z_box({self.low:g}, {self.high:g}, {self.epsilon:g})"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of the first layer."""
        positive = _on_probe(operation, tensors.relu)
        negative = _on_probe(operation, lambda weight: tensors.clip(weight, high=0.0))
        parts = _on_probe(operation, lambda weight: weight, of=operation.inputs[0])
        parts = parts - positive * self.low - negative * self.high
        return redistribute(parts, operation.value, self.epsilon, tensors)


def _on_probe(operation: Operation, change: Callable[[Tensor], Tensor], *, of: Tensor | None = None) -> Tensor:
    """Apply the first layer with changed weights and no bias to the probe, or to `of`."""
    details = operation.details
    if operation.probe is None or details.linear_map is None or details.weight is None:
        raise UnsupportedOperationError(
            f"a first-layer rule was given, but {operation.name} does not read the network's input itself"
        )
    return details.linear_map(operation.probe if of is None else of, change(details.weight), None)
