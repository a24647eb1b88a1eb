"""Which factors of a product carry evidence, and which only weigh it.

In ``x * sigmoid(g)`` of a squeeze-excite block, in ``x / norm(x)`` and in a layer norm written by hand, one signal
says how much of the other goes on. Such a factor is a gate, not evidence of its own (Arras et al. 2019,
doi:10.1007/978-3-030-28954-6_11, section 11.3.1, "signal-take-all").
"""

from collections.abc import Sequence

from xai_med.backend.operations import Kind
from xai_med.backend.record import Node

_BOUNDED = frozenset({Kind.SIGMOID, Kind.SOFTMAX})
_TRANSPARENT = frozenset(
    {
        Kind.RESHAPE,
        Kind.PERMUTE,
        Kind.ROUTING,
        Kind.RESAMPLE,
        Kind.DROPOUT,
        Kind.ADD,
        Kind.MULTIPLY,
        Kind.DIVIDE,
    }
)
"""Kinds that leave a bounded signal bounded, where they act on one signal alone."""


def weighing_factors(kind: Kind, factors: Sequence[Node], shape: tuple[int, ...]) -> frozenset[int]:
    """Positions of the factors that only weigh.

    Parameters
    ----------
    kind : Kind
        `Kind.MULTIPLY` or `Kind.DIVIDE`.
    factors : sequence of Node
        Producers of the signals that are multiplied, or of numerator and denominator.
    shape : tuple of int
        Of the result.

    Returns
    -------
    frozenset of int
        Never all of them: two gates, or two signals of equal standing, share.
    """
    if kind is Kind.DIVIDE:
        return frozenset({1}) if len(factors) == 2 else frozenset()
    for weighs in (lambda node: _is_repeated(node, shape), _is_bounded):
        found = frozenset(position for position, node in enumerate(factors) if weighs(node))
        if found and len(found) < len(factors):
            return found
    return frozenset()


def _is_repeated(node: Node, shape: tuple[int, ...]) -> bool:
    """Whether one value weighs several cells or channels."""
    own = (1,) * (len(shape) - len(node.shape)) + node.shape
    return any(size < full for size, full in zip(own, shape, strict=True))


def _is_bounded(node: Node) -> bool:
    """Whether the values lie between two bounds: they come from a sigmoid or its like."""
    # of a reshape, other parents only lend their shape
    while node.kind is Kind.RESHAPE or (node.kind in _TRANSPARENT and len(node.parents) == 1):
        node = node.parents[0]
    return node.kind in _BOUNDED or node.details.is_bounded
