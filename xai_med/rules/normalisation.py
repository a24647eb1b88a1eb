"""The rule for layer, group, instance and RMS norm: centring is linear, the spread is held fixed."""

from dataclasses import dataclass

from xai_med.backend.operations import Kind, Operation
from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.errors import UnsupportedOperationError
from xai_med.rules.applicable import refuse_other_kinds
from xai_med.rules.stabilise import carry


@dataclass(frozen=True)
class FixedSpread:
    """``y = (x - mean(x)) / spread * scale + shift`` with the sample's own spread as a constant.

    Relevance then passes through the division unchanged and through the centring in proportion; the shift keeps
    its share. Differentiating the spread as well would break conservation: the norm is blind to the size of its
    input, so that gradient x input of the whole is zero.

    References
    ----------
    Ali et al. 2022, arXiv:2202.07304, equation 6 (LN rule); Achtibat et al. 2024, arXiv:2402.05602, section 3.3.3.
    """

    name: str = "fixed spread"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:
        """Return the surrogate of a normalisation."""
        refuse_other_kinds(operation, {Kind.NORMALISATION, Kind.BATCH_NORM}, self.name)
        spread, (signal,) = operation.details.spread, operation.inputs
        if spread is None:
            raise UnsupportedOperationError(f"the statistics of {operation.name} could not be read")
        view = tensors.reshape(signal, spread.view)
        if spread.is_centred:
            view = view - tensors.mean(view, spread.axes, keep=True)
        fixed = tensors.stop_gradient(view)
        size = tensors.sqrt(tensors.mean(fixed * fixed, spread.axes, keep=True) + spread.epsilon)
        normalised = tensors.reshape(view / size, shape_of(signal))
        return carry(normalised if spread.scale is None else normalised * spread.scale, operation.value, tensors)
