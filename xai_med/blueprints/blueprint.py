"""A network stated once, as arrays and steps, that every adapter can build in its own framework."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from xai_med.backend.tensors import Array

INPUT = "input"
"""Name under which the first steps refer to the network's input."""


@dataclass(frozen=True)
class Step:
    """One operation of a blueprint.

    Parameters
    ----------
    name : str
        Unique; becomes the layer's name in the built network, so it can be given as ``layer=``.
    operation : str
        One of `OPERATIONS`.
    inputs : tuple of str
        Names of earlier steps, or ``"input"``.
    arrays : mapping of str to ndarray
        Weights: ``weight`` (out, in / groups, *kernel) or (out, in), ``bias`` (out,); for batch norm also
        ``running_mean`` and ``running_var``.
    options : mapping
        See `OPERATIONS`.
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    arrays: Mapping[str, Array] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrays", MappingProxyType(dict(self.arrays)))
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))


@dataclass(frozen=True)
class Blueprint:
    """A network: its input shape and its steps in order; the last step is the output.

    Parameters
    ----------
    name : str
        For test names and tables.
    input_shape : tuple of int
        (C, *space), without the batch axis.
    steps : tuple of Step
        Each refers to earlier ones only.
    """

    name: str
    input_shape: tuple[int, ...]
    steps: tuple[Step, ...]


OPERATIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "convolution": ("stride", "padding", "dilation", "groups"),
        "linear": (),
        "batch_norm": ("epsilon",),
        "relu": ("style",),  # "module", "functional" or "in_place"
        "silu": (),
        "sigmoid": (),
        "softmax": (),
        "max_pool": ("kernel", "stride", "padding"),
        "average_pool": ("kernel", "stride", "padding"),
        "global_average_pool": ("style",),  # "module" keeps space axes of size 1, "mean" drops them
        "global_max_pool": (),
        "flatten": (),
        "concatenate": (),
        "add": ("style",),  # "operator" or "in_place"
        "multiply": (),
        "dropout": ("probability",),
    }
)
"""Operation names and the options that each takes; sizes are integers that hold for every space axis."""
