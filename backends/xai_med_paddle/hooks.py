"""Hooks that a model attaches to its own tensors while it runs."""

from collections.abc import Callable
from typing import Any

import paddle

from xai_med.errors import GradientError


class _NoHook:
    """What a model may call ``remove`` of where nothing was attached."""

    def remove(self) -> bool:
        """Say that there was nothing."""
        return False


def attach(register: Callable[..., Any], tensor: Any, hook: Callable[[Any], Any]) -> Any:
    """Attach a hook that only looks; nothing where an explanation records no gradient to look at.

    Parameters
    ----------
    register : callable
        ``paddle.Tensor.register_hook``.
    tensor, hook
        As the model gave them.
    """
    return _NoHook() if tensor.stop_gradient else register(tensor, _only_looking(hook))


def _only_looking(hook: Callable[[Any], Any]) -> Callable[[Any], None]:
    def looking(gradient: Any) -> None:
        given = paddle.assign(gradient)
        answer = hook(gradient)
        if not paddle.equal_all(given, gradient) or (answer is not None and not paddle.equal_all(given, answer)):
            raise GradientError(
                "the model attaches a hook to a tensor that changes its gradient, so that what arrives is not the "
                "gradient; remove the hook, or use method='cam', which needs no gradients"
            )

    return looking
