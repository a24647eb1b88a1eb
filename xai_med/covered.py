"""Refuses models with an operation on the way to the logits that the rules have no answer for."""

from xai_med.backend.network import Trace
from xai_med.backend.record import Node
from xai_med.errors import UnsupportedOperationError


def refuse_uncovered(
    logits: Node, trace: Trace, rules: str, *, instead: str = "a composite that has, or method='grad_cam'"
) -> None:
    """Refuse a model with an operation on the way to the logits that the rules have no answer for.

    Parameters
    ----------
    logits : Node
        End of the way.
    trace : Trace
        For the names of layers.
    rules : str
        Name of the composite.
    instead : str
        What to use.

    Raises
    ------
    UnsupportedOperationError
        There is one; it is named.
    """
    uncovered = [node for node in logits.ancestors(carrying_only=True) if not node.is_covered]
    if uncovered:
        places = {f"{node.name} in {trace.layer_name(node)!r}": None for node in reversed(uncovered)}
        listed = ", ".join(list(places)[:5]) + (" and more" if len(places) > 5 else "")
        raise UnsupportedOperationError(
            f"the rules {rules!r} have none for {uncovered[-1].kind.value}: {listed}; use {instead}"
        )
