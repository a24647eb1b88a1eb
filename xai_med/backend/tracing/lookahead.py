"""Tells the last item of an iteration, at which a graph that is not needed again may go."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def marking_last(items: Iterable[Item]) -> Iterator[tuple[Item, bool]]:
    """Each item, and whether it is the last; one item is made ahead, and no more."""
    iterator = iter(items)
    try:
        current = next(iterator)
    except StopIteration:
        return
    for following in iterator:
        yield current, False
        current = following
    yield current, True
