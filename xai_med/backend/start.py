"""Where the differentiable part of a traced forward pass begins: small values."""

from dataclasses import dataclass
from typing import Any, TypeAlias


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
    """

    module: Any
    name: str


@dataclass(frozen=True)
class AtPool:
    """At the tensor that enters the global pool, else at the last one with space axes.

    Parameters
    ----------
    producer : int or None
        Index of the operation that makes this tensor, where an earlier trace has found it.
    """

    producer: int | None = None


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


Start: TypeAlias = AtInput | AtLayer | AtPool | Nowhere
