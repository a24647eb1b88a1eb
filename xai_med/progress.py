"""A progress bar for what takes many forward passes, where one is asked for."""

from collections.abc import Iterable
from typing import TypeVar

from xai_med._optional import optional_import

Item = TypeVar("Item")


def with_progress(items: Iterable[Item], *, total: int, what: str, shown: bool) -> Iterable[Item]:
    """The same items; with a bar on the standard error stream where `shown`.

    Raises
    ------
    MissingDependencyError
        tqdm is not installed.
    """
    if not shown:
        return items
    bar: Iterable[Item] = optional_import("tqdm", extra="cli").tqdm(items, total=total, desc=what, unit="pass")
    return bar
