"""Where the differentiable part of a traced forward pass begins: small values."""

from dataclasses import dataclass
from typing import Any, TypeAlias

from xai_med.backend.places.lattice import Lattice


@dataclass(frozen=True)
class AtInput:
    """At the network's input.

    Parameters
    ----------
    probed : bool
        Multiply the input by ones, the probe, and begin at the probe: what is pulled back to it is
        input x gradient under ordinary rules, and rules of the first layer may address it directly.
    """

    probed: bool = False


@dataclass(frozen=True)
class AtLayer:
    """At the output of a layer that runs exactly once.

    Parameters
    ----------
    module : object
        The framework's module.
    name : str
        Its dotted name.
    lattice : Lattice or None
        Where its output is not (N, C, *space): which of its cells are places. The captured tensor is then that of
        the places, (N, C, *lattice).
    """

    module: Any
    name: str
    lattice: Lattice | None = None


@dataclass(frozen=True)
class AtPool:
    """At the tensor that enters the global pool, else at the last one with space axes.

    Parameters
    ----------
    producer : int or None
        Index of the operation that makes this tensor, where an earlier trace has found it.
    lattice : Lattice or None
        As in `AtLayer`.
    """

    producer: int | None = None
    lattice: Lattice | None = None


@dataclass(frozen=True, eq=False)
class AtResult:
    """At the result of one operation, whatever its axes, before anything consumes it.

    Parameters
    ----------
    operation : int
        Index of the operation in the record of an earlier trace.
    value : tensor or None
        What the model goes on from in its place, of a shape that broadcasts to it; None goes on from the result.
    """

    operation: int
    value: Any = None


@dataclass(frozen=True)
class Nowhere:
    """No derivatives at all.

    Parameters
    ----------
    watched : object or None
        A module whose output's place in the record is remembered.
    name : str
        Its dotted name.
    """

    watched: Any = None
    name: str = ""


@dataclass(frozen=True, eq=False)
class Displaced:
    """Begin as `start` says, and let the model go on from another value: what difference quotients are taken of.

    Parameters
    ----------
    start : AtInput, AtLayer, AtPool or AtResult
        Where. At a probed input it is the probe that is displaced.
    by : tensor
        Added to what was captured, of its shape.
    """

    start: AtInput | AtLayer | AtPool | AtResult
    by: Any


Start: TypeAlias = AtInput | AtLayer | AtPool | AtResult | Nowhere | Displaced
