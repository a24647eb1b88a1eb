"""Arguments of intercepted calls."""

from collections.abc import Callable, Mapping
from typing import Any

from xai_med.backend.tensors import Tensor


def map_tensors(
    change: Callable[[Tensor], Tensor],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    is_tensor: Callable[[object], bool],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments with each tensor, also inside lists and tuples, replaced by ``change(tensor)``."""

    def mapped(value: Any) -> Any:
        if is_tensor(value):
            return change(value)
        if type(value) in (list, tuple) and any(is_tensor(item) for item in value):
            return type(value)(change(item) if is_tensor(item) else item for item in value)
        return value

    return tuple(mapped(value) for value in args), {key: mapped(value) for key, value in kwargs.items()}
