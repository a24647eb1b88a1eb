"""A library behind one narrow door: a question about a model, and the map it answers with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from reliability.kit import Kit
from reliability.stages import Rule


@dataclass(frozen=True, eq=False)
class Question:
    """What a user of any library would give it.

    Parameters
    ----------
    model, x : object
        Native.
    target : object
        A class, classes image by image, or None for the predicted class.
    layer : str or None
        Where layer maps look; None lets the library choose.
    classifier : str
        The linear layer behind the pool, which some libraries want to know for class activation maps.
    has_norm : bool
        Whether the model has batch norm, for libraries whose manual wants it merged before relevance.
    is_enlarged : bool
        Whether a layer map is wanted in the space of the images too.
    """

    model: Any
    x: Any
    target: Any
    layer: str | None
    classifier: str = "fc"
    has_norm: bool = False
    is_enlarged: bool = False


@dataclass(frozen=True, eq=False)
class Map:
    """What a library answered.

    Parameters
    ----------
    values : ndarray of shape (N, *space) or (N, C, *space)
    convention : callable of (ndarray, tuple of int)
        The library's own convention: from the signed raw map by definition, and the space of the images, to what the
        library says that it returns.
    enlarged : ndarray of shape (N, *space of the images) or None
        A layer map in the space of the images, where the library makes one.
    notes : tuple of str
        Warnings, and what the result says about itself.
    """

    values: np.ndarray
    convention: Callable[[np.ndarray, tuple[int, ...]], np.ndarray]
    enlarged: np.ndarray | None = None
    notes: tuple[str, ...] = ()


class NoMapError(Exception):
    """The library returned nothing where a map was asked for; says what it printed instead."""


Ask: TypeAlias = Callable[[Question], Map]


@dataclass(frozen=True, eq=False)
class Subject:
    """A library in one framework.

    Parameters
    ----------
    name : str
    kit : Kit
    methods : mapping of str to callable
        Those that the library has, from cam, grad_cam, gradient, lrp, clear, guided.
    rule : Rule
        Its relevance by default.
    without_targets : frozenset of str
        Methods in which choosing the class is not the library's business, or only one class is documented.
    one_class : frozenset of str
        Methods documented for one class, not for classes image by image.
    predicted : frozenset of str
        Methods that choose the predicted class where none is named.
    spaces : frozenset of int
        Numbers of space axes that its manual offers.
    is_refusal : callable
        Whether an exception is the library's own kind.
    """

    name: str
    kit: Kit
    methods: Mapping[str, Ask]
    rule: Rule = field(default_factory=lambda: Rule("epsilon", 1e-9))
    without_targets: frozenset[str] = frozenset()
    one_class: frozenset[str] = frozenset()
    predicted: frozenset[str] = frozenset()
    spaces: frozenset[int] = frozenset({1, 2, 3})
    is_refusal: Callable[[BaseException], bool] = lambda error: False

    @property
    def is_ours(self) -> bool:
        """Whether the rules for our own library hold."""
        return self.name == "xai_med"
