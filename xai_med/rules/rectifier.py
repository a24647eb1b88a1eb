"""What happens to a cotangent at a ReLU: the choices by which CLEAR, deconvnet and guided backprop differ.

Each forward value is the ReLU's own; `g` is the cotangent that comes back, `a` what went into the ReLU.
"""

from dataclasses import dataclass

from xai_med.backend.operations import Operation
from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.errors import UnsupportedOperationError


@dataclass(frozen=True)
class IdentityReLU:
    """Backward ``g``: as CLEAR's printed equations (Kumar, Wong, Taylor 2017, equations 1 to 3)."""

    name: str = "identity"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the ReLU's value with the derivative of the identity."""
        return _with_derivative_of(operation.inputs[0], operation.value, tensors)


@dataclass(frozen=True)
class DeconvReLU:
    """Backward ``[g]+``: Zeiler and Fergus 2014, arXiv:1311.2901, section 2.1."""

    name: str = "deconv"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the ReLU's value; the cotangent is rectified instead of masked."""
        return tensors.rectify_cotangent(_with_derivative_of(operation.inputs[0], operation.value, tensors))


@dataclass(frozen=True)
class GuidedReLU:
    """Backward ``[g]+ 1[a > 0]``: Springenberg et al. 2015, arXiv:1412.6806, figure 1."""

    name: str = "guided"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the ReLU's value; the cotangent is rectified and masked."""
        return tensors.rectify_cotangent(operation.apply(*operation.inputs))


def _with_derivative_of(signal: Tensor, value: Tensor, tensors: Tensors) -> Tensor:
    """The ReLU's value with the derivative of the identity."""
    if shape_of(signal) != shape_of(value):
        raise UnsupportedOperationError("a rule for rectifiers is not for an operation that changes its input's shape")
    return tensors.carry(signal * 1, tensors.stop_gradient(value))
