"""Which tokens a score is read from: a class token, or the mean of some."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xai_med.backend.network import Trace
from xai_med.backend.operations import Kind
from xai_med.backend.places.attention import INSTEAD, AttentionStack, reaches_image_without
from xai_med.backend.places.numbered import is_mixed
from xai_med.backend.record import Node
from xai_med.backend.tensors import Array
from xai_med.errors import NotApplicableError


@dataclass(frozen=True)
class Reading:
    """What stands for the image behind the last attention.

    Parameters
    ----------
    tokens : tuple of int
        Their numbers, each once; of several the mean is read.
    """

    tokens: tuple[int, ...]

    def weights(self, count: int) -> Array:
        """How much of each of `count` tokens is read, adding up to one."""
        weights = np.zeros(count)
        weights[list(self.tokens)] = 1 / len(self.tokens)
        return weights

    def __str__(self) -> str:
        """In words."""
        if len(self.tokens) == 1:
            return f"the row of token {self.tokens[0]}"
        numbers = np.asarray(self.tokens)
        is_range = (np.diff(numbers) == 1).all()
        listed = f"{numbers[0]} to {numbers[-1]}" if is_range else ", ".join(map(str, self.tokens))
        return f"the mean of the rows of tokens {listed}"


def find_reading(logits: Node, stack: AttentionStack, trace: Trace, chosen: Reading | None = None) -> Reading:
    """Which tokens the logits are computed from, behind the last attention.

    Parameters
    ----------
    logits, stack, trace
        The operation that made them, the attention layers, and the pass.
    chosen : Reading or None
        What to take, however they are read.

    Raises
    ------
    NotApplicableError
        They are read before the last attention; or, where nothing is chosen, in several ways, or in one that is
        neither a choice of one token nor a mean.
    """
    found: dict[Reading, Node] = {}
    for node, parent in _ends(logits, stack):
        if stack.layers[-1].product not in parent.ancestors():
            raise NotApplicableError(
                f"{node.name} in {trace.layer_name(node)!r} reads from tokens before the last attention, of which the "
                f"attention weights say nothing; {INSTEAD}"
            )
        if chosen is None:
            found.setdefault(_read(node, parent, stack, trace), parent)
    if chosen is not None:
        return chosen
    if len(found) != 1:
        ways = "; ".join(f"{reading} in {trace.layer_name(node)!r}" for reading, node in found.items())
        raise NotApplicableError(
            f"the score is not read from one token or one mean of tokens ({ways or 'the output itself holds tokens'}); "
            f"say which tokens' rows to take with rows=, or {INSTEAD}"
        )
    return next(iter(found))


def _ends(logits: Node, stack: AttentionStack) -> Iterator[tuple[Node, Node]]:
    """Operations that hand on no tokens one by one, each with what gave it some."""
    for node in logits.ancestors(differentiable_only=True):
        if len(_carried(node, stack)) < 2:
            yield from ((node, parent) for parent in node.parents if len(_carried(parent, stack)) > 1)


def refuse_ways_around(logits: Node, stack: AttentionStack) -> None:
    """Refuse where something of the image reaches the score without being a token.

    Raises
    ------
    NotApplicableError
        Another branch of the network goes round the attention layers.
    """
    if reaches_image_without(logits, stack.tokens.node):
        raise NotApplicableError(
            f"part of the image reaches the score by a way round the attention layers, as through a second branch, "
            f"of which their weights say nothing; {INSTEAD}"
        )


def _carried(node: Node, stack: AttentionStack) -> frozenset[int]:
    """Numbers of the tokens that an operation's result still holds one by one."""
    if node.index < stack.tokens.node.index:
        return frozenset()
    numbers = stack.tokens.numbers(stack.follower.places(node))
    return frozenset(int(number) for number in np.unique(numbers[numbers >= 0] % stack.tokens.count))


def _read(node: Node, parent: Node, stack: AttentionStack, trace: Trace) -> Reading:
    """What one operation makes of tokens that it does not hand on one by one."""
    own, given = _carried(node, stack), _carried(parent, stack)
    places, before = stack.follower.places(node), stack.follower.places(parent)
    if len(own) == 1 and not is_mixed(places):
        return Reading(tuple(own))
    is_mean = node.kind is Kind.MEAN or (node.kind is Kind.AVERAGE_POOL and node.details.is_global)
    numbers = stack.tokens.numbers(before)
    held = numbers[numbers >= 0]
    is_plain = len(held) == numbers.size == len(given) * stack.tokens.lattice.images
    if is_mean and is_plain and len(np.unique(places.cells)) <= stack.tokens.lattice.images:
        return Reading(tuple(sorted(given)))
    raise NotApplicableError(
        f"the score is read from the tokens by {node.name} in {trace.layer_name(node)!r}, which neither chooses one "
        f"nor takes their mean; say which tokens' rows to take with rows=, or {INSTEAD}"
    )
