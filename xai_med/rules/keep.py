"""The rule that changes nothing: it keeps what goes into an operation, so that derivatives can be sent back to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from xai_med.backend.operations import Operation
from xai_med.backend.tensors import Tensor, Tensors


@dataclass(frozen=True, eq=False)
class Keep:
    """Runs an operation as it is and remembers its signals, in the order of execution.

    Parameters
    ----------
    met : list of tuple of tensor
        The signals of each operation; filled while the model runs.
    displaced : mapping of (int, int) to tensor
        By number of the operation and position of the signal: what is added to a signal, for difference quotients.
    """

    met: list[tuple[Tensor, ...]] = field(default_factory=list)
    displaced: Mapping[tuple[int, int], Tensor] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The rule has no settings."""
        return "keep"

    def __call__(self, operation: Operation, tensors: Tensors) -> Tensor:  # noqa: ARG002 (the protocol's argument)
        """Return the operation's own result, with its own derivative."""
        number = len(self.met)
        inputs = tuple(
            signal + self.displaced[number, position] if (number, position) in self.displaced else signal
            for position, signal in enumerate(operation.inputs)
        )
        self.met.append(inputs)
        return operation.apply(*inputs)
