"""Evaluation mode for as long as an explanation lasts, for modules that carry a ``training`` flag."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.RLock()
_held: dict[int, tuple[Any, int]] = {}  # modules put in evaluation mode here, and by how many explanations


@contextmanager
def evaluation_mode(modules: Iterable[Any]) -> Iterator[bool]:
    """Clear the training flag of each module that has it set, and set it again on exit.

    The flags are counted and not saved: where explanations in several threads share a model, the last one to end
    sets them. The flag itself is written, not ``eval()`` called, which models override.

    Parameters
    ----------
    modules : iterable
        All parts of the model.

    Yields
    ------
    bool
        Whether any part was in training mode.
    """
    mine: list[Any] = []
    try:
        with _lock:
            for module in modules:
                if module.training or id(module) in _held:
                    _held[id(module)] = (module, _held.get(id(module), (module, 0))[1] + 1)
                    mine.append(module)
                    module.training = False
        yield bool(mine)
    finally:
        with _lock:
            for module in mine:
                count = _held[id(module)][1] - 1
                if count:
                    _held[id(module)] = (module, count)
                else:
                    del _held[id(module)]
                    module.training = True
