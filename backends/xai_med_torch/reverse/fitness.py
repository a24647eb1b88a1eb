"""Whether a reverse pass for many classes pays, and how many it can take."""

from math import prod

from xai_med_torch.reverse.local import LOCAL
from xai_med_torch.reverse.ways import Ways, kind_of

_LEAST_SHARE = 0.9  # of nodes with a formula for many classes; the others are asked class by class


def suits(ways: Ways) -> bool:
    """Whether most nodes on the way have a formula for many classes, none is written in Python, and all are real."""
    if any(entry.dtype.is_complex for node in ways.order for entry in node._input_metadata):
        return False
    if any(hasattr(node, "apply") and kind_of(node) not in LOCAL for node in ways.order):
        return False
    known = sum(kind_of(node) in LOCAL for node in ways.order)
    return known >= _LEAST_SHARE * (len(ways.order) - 1)


def largest_of(ways: Ways) -> int:
    """Bytes of the largest tensor on the way."""
    entries = (entry for node in ways.order for entry in node._input_metadata[:1])
    return int(max(prod(entry.shape) * entry.dtype.itemsize for entry in entries))
