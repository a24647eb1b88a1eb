"""Which rule is for which kinds of operations: another one is refused, as its derivative would be no relevance."""

from collections.abc import Set

from xai_med.backend.operations import LINEAR_OR_ROUTING, WEIGHTED, Kind, Operation
from xai_med.errors import UnsupportedOperationError

HOMOGENEOUS = WEIGHTED | (LINEAR_OR_ROUTING - {Kind.STEP, Kind.DETACH}) | {Kind.BATCH_NORM, Kind.RELU}
"""Kinds whose value is the sum of input times derivative, but for a constant, which keeps its share."""


def refuse_other_kinds(operation: Operation, kinds: Set[Kind], rule: str) -> None:
    """Refuse a rule for an operation that it says nothing about.

    Raises
    ------
    UnsupportedOperationError
        The operation is of none of these kinds.
    """
    if operation.kind not in kinds:
        raise UnsupportedOperationError(
            f"the rule {rule} is not for {operation.name} ({operation.kind.value}); give another, or name other kinds"
        )
