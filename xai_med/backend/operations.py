"""The vocabulary of operations: what adapters translate their framework's functions into."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from xai_med.backend.tensors import Tensor


class Kind(Enum):
    """What an operation does, as far as rules and methods care."""

    CONVOLUTION = "convolution"
    TRANSPOSED_CONVOLUTION = "transposed convolution"
    LINEAR = "linear"
    BATCH_NORM = "batch norm"
    NORMALISATION = "normalisation"  # by statistics of the sample itself: layer, group, instance norm
    RELU = "ReLU"
    ACTIVATION = "activation"  # any other element-wise non-linearity
    MAX_POOL = "max pool"
    AVERAGE_POOL = "average pool"
    MEAN = "mean"
    SUM = "sum"
    MAXIMUM = "maximum"  # over axes
    ADD = "add"  # or subtract
    MULTIPLY = "multiply"
    DIVIDE = "divide"
    MATMUL = "matrix product"
    CONCATENATE = "concatenate"
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    ATTENTION = "attention"
    DROPOUT = "dropout"
    RESHAPE = "reshape"
    PERMUTE = "permute"
    ROUTING = "routing"  # indexing, padding, splitting, expanding, copying: each value goes somewhere unchanged
    RESAMPLE = "resample"  # linear interpolation of the space axes
    STEP = "step"  # piecewise constant: rounding, comparison, arg max; its derivative is zero or none
    DETACH = "detach"
    RANDOM = "random"
    UNKNOWN = "unknown"

    # each operation of a model is looked up in several sets of kinds, and the hash of `Enum` is written in Python
    __hash__ = object.__hash__


LINEAR_OR_ROUTING = frozenset(
    {
        Kind.AVERAGE_POOL,
        Kind.MEAN,
        Kind.SUM,
        Kind.ADD,
        Kind.CONCATENATE,
        Kind.DROPOUT,
        Kind.RESHAPE,
        Kind.PERMUTE,
        Kind.ROUTING,
        Kind.RESAMPLE,
        Kind.STEP,
        Kind.DETACH,
        Kind.MAX_POOL,
        Kind.MAXIMUM,
    }
)
"""Kinds through which relevance passes by differentiation alone (METHODS: gradient x input of a homogeneous map)."""

WEIGHTED = frozenset({Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION, Kind.LINEAR})
"""Kinds of operations with weights."""


class BatchStatistics:
    """The affine map of a batch norm in evaluation mode, per channel: ``x * scale + shift``.

    Parameters
    ----------
    read : callable
        Gives scale and shift, each of shape (C,); asked only where a rule needs them.
    """

    __slots__ = ("_both", "_read")

    def __init__(self, read: Callable[[], tuple[Tensor, Tensor]]) -> None:
        self._read = read
        self._both: tuple[Tensor, Tensor] | None = None

    def _values(self) -> tuple[Tensor, Tensor]:
        if self._both is None:
            self._both = self._read()
        return self._both

    @property
    def scale(self) -> Tensor:
        """Factor of each channel."""
        return self._values()[0]

    @property
    def shift(self) -> Tensor:
        """Summand of each channel."""
        return self._values()[1]


@dataclass(frozen=True, eq=False)
class Spread:
    """How a normalisation by statistics of the sample itself measures mean and spread.

    Parameters
    ----------
    view : tuple of int
        Shape in which the statistics are taken.
    axes : tuple of int
        Of `view`, over which they are taken.
    is_centred : bool
        Whether the mean is subtracted (layer, group and instance norm; not RMS norm).
    epsilon : float
        Added to the variance, or to the mean square.
    scale : tensor or None
        Learned factor, of a shape that broadcasts against the signal.
    """

    view: tuple[int, ...]
    axes: tuple[int, ...]
    is_centred: bool
    epsilon: float
    scale: Tensor | None


@dataclass(eq=False, slots=True)
class Details:
    """What an adapter reads off one call; a field stays None where it does not apply.

    Not frozen, as one is made for every operation of a model, and the record forgets `signal`.

    Parameters
    ----------
    signal : tensor or None
        The data input of an operation that has weights or axes.
    weight : tensor or None
        (out, in / groups, *kernel) for convolutions, (out, in) for linear maps.
    bias : tensor or None
        (out,).
    linear_map : callable or None
        ``linear_map(signal, weight, bias)``: the same operation with other values.
    output_axis : int or None
        Axis of `weight` that runs over output channels, None where batch norm cannot be merged into it.
    space : int or None
        Number of space axes that a convolution or pool works on.
    channels : int or None
        Number of channels that a convolution reads.
    statistics : BatchStatistics or None
        Of a batch norm that uses its running statistics.
    spread : Spread or None
        Of a normalisation by statistics of the sample itself.
    is_bounded : bool
        Of an activation: whether its values lie between two bounds, so that as a factor it weighs like a sigmoid.
    reduced : tuple of int or None
        Axes, non-negative, that a mean, sum, maximum or softmax runs over.
    keeps_axes : bool
        Whether reduced axes stay with size 1.
    is_global : bool
        Whether a pool's single window covers its input exactly.
    order : tuple of int or None
        Of a permutation of axes.
    is_active : bool
        Of a dropout or another random operation: whether it changes anything in this call.
    couples_images : bool
        Whether the result for one image depends on the others in the batch.
    changes_model : bool
        Whether the call writes into the model, as a batch norm that updates its running statistics.
    untouched : frozenset of int or None
        Of a routing: axes along which every value stays where it is; None where this could not be read.
    dropped : frozenset of int
        Of a routing: axes of which one place was taken, so that they are gone.
    equation : str or None
        Of a matrix product or an attention, in Einstein's notation, for its operands in the order of the call.
    """

    signal: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    linear_map: Callable[..., Tensor] | None = None
    output_axis: int | None = None
    space: int | None = None
    channels: int | None = None
    statistics: BatchStatistics | None = None
    spread: Spread | None = None
    is_bounded: bool = False
    reduced: tuple[int, ...] | None = None
    keeps_axes: bool = False
    is_global: bool = False
    order: tuple[int, ...] | None = None
    is_active: bool = False
    couples_images: bool = False
    changes_model: bool = False
    untouched: frozenset[int] | None = None
    dropped: frozenset[int] = frozenset()
    equation: str | None = None


NO_DETAILS = Details()


@dataclass(eq=False, slots=True)
class Call:
    """One function call of the running model, as an adapter saw it; made for every operation, and so not frozen.

    Parameters
    ----------
    kind : Kind
        From the adapter's table.
    name : str
        The framework's name of the function, for messages.
    function : callable
        The function itself, not intercepted when called from inside the tracer.
    args, kwargs
        As the model gave them.
    writes_in_place : bool
        Whether the function writes its result into its first argument.
    read : callable
        Gives the `Details`; called with the arguments that should be read.
    expand : callable or None
        Runs the call as elementary operations, each of which is reported, for methods that need a rule for each.
    deferred : callable or None
        Gives the `Details` less the signal, if they are ever asked for. Set where an adapter knows that only the first
        argument can depend on the input, that the result follows the input's dtype, and that nothing about the call
        is to be refused but a wrong number of channels.
    """

    kind: Kind
    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    writes_in_place: bool
    read: Callable[[tuple[Any, ...], Mapping[str, Any]], Details]
    expand: Callable[[], Any] | None = None
    deferred: Callable[[], Details] | None = None


@dataclass(frozen=True, eq=False)
class Operation:
    """What a rule receives: one operation with inputs that carry the relevance.

    Parameters
    ----------
    kind, name
        As in `Call`.
    inputs : tuple of tensors
        The signals: inputs that depend on the network's input and through which derivatives flow.
    value : tensor
        The operation's true output, without gradient.
    apply : callable
        ``apply(*inputs)``: the operation on other signals, everything else equal.
    details : Details
        Weights and geometry.
    factors : int
        How many operands are signals; one that occurs twice, as in ``x * x``, counts twice.
    weighing : frozenset of int
        Positions of the inputs that only weigh the others, such as the gate of a squeeze-excite block.
    probe : tensor or None
        At the first layer: ones of the input's shape by which the input was multiplied (see `Trace`).
    """

    kind: Kind
    name: str
    inputs: tuple[Tensor, ...]
    value: Tensor
    apply: Callable[..., Tensor]
    details: Details = field(default=NO_DETAILS)
    factors: int = 1
    weighing: frozenset[int] = frozenset()
    probe: Tensor | None = None
