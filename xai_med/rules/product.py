"""The product rule: how relevance is shared between signals that are multiplied."""

from dataclasses import dataclass

from xai_med.backend.operations import Kind, Operation
from xai_med.backend.tensors import Tensor, Tensors
from xai_med.rules.applicable import refuse_other_kinds
from xai_med.rules.stabilise import carry, redistribute

_PRODUCTS = frozenset({Kind.MULTIPLY, Kind.DIVIDE, Kind.MATMUL})


@dataclass(frozen=True)
class Product:
    """Factors that only weigh are held fixed and receive nothing; factors of equal standing share evenly.

    The first is the gate of a squeeze-excite block or the denominator of a normalisation; the second the
    products of attention, ``R`` halved between weights and values, and between queries and keys.

    References
    ----------
    Arras et al. 2019, doi:10.1007/978-3-030-28954-6_11, section 11.3.1 (gates); Achtibat et al. 2024,
    arXiv:2402.05602, equations 14 and 15 (matrix products).
    """

    epsilon: float = 1e-6

    @property
    def name(self) -> str:
        """Rule and setting."""
        return f"product({self.epsilon:g})"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of a product of signals."""
        refuse_other_kinds(operation, _PRODUCTS, self.name)
        carriers = operation.factors - len(operation.weighing)

        def change(position: int, factor: Tensor) -> Tensor:
            if position in operation.weighing:
                return tensors.stop_gradient(factor)
            # a product of n factors is homogeneous of degree n: gradient x input would hand relevance on n times
            return carry(factor / carriers, factor, tensors) if carriers > 1 else factor

        parts = operation.apply(*(change(position, factor) for position, factor in enumerate(operation.inputs)))
        return redistribute(parts, operation.value, self.epsilon, tensors)
