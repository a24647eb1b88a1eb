"""Arrays in results: float64, and nobody writes to them."""

import numpy as np


def freeze(result: object, *names: str) -> None:
    """Replace fields of a frozen dataclass by read-only float64 views of them."""
    for name in names:
        view = np.asarray(getattr(result, name), dtype=np.float64).view()
        view.setflags(write=False)
        object.__setattr__(result, name, view)
