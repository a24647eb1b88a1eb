"""What is run for one explanation: a method, perhaps at several layers, perhaps over copies, perhaps verified."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xai_med.errors import SettingError
from xai_med.fusion import fused
from xai_med.method import Method
from xai_med.request import Attribution, Request
from xai_med.smoothing import smoothed
from xai_med.verification import verified


def running(
    method: Method,
    settings: Mapping[str, Any],
    *,
    layers: Sequence[Any] | None = None,
    smoothing: str | None = None,
    verify: bool = False,
) -> Callable[[Request], Attribution]:
    """Compose what is asked for.

    Parameters
    ----------
    method : Method
    settings : mapping
        That the caller gave.
    layers : sequence or None
        Whose maps become one (see `xai_med.fusion`).
    smoothing : str or None
        Copies to average over (see `xai_med.smoothing`).
    verify : bool
        Verify each single map.
    """

    if method.default_target == "all" and (layers is not None or smoothing is not None):
        raise SettingError(
            f"{method.name} compares classes on one map of each, which several layers or smoothing= would change "
            f"one by one; ask without them"
        )
    if smoothing is not None and (name := next((n for n, v in settings.items() if _holds_image(v)), None)):
        raise SettingError(f"{name}= holds an image, which smoothing= would have to change with the input; remove one")

    def once(request: Request) -> Attribution:
        found = method(request, settings)
        return verified(method, request, found, settings) if verify else found

    def at_layers(request: Request) -> Attribution:
        return once(request) if layers is None else fused(once, request, layers)

    def over_copies(request: Request) -> Attribution:
        return at_layers(request) if smoothing is None else smoothed(at_layers, request, smoothing)

    return over_copies


def _holds_image(value: Any) -> bool:
    """Whether a setting is an array of places, alone or among others."""
    if isinstance(value, Mapping):
        return any(map(_holds_image, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_image, value))
    return len(getattr(value, "shape", ())) > 1
