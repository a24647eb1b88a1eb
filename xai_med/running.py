"""What is run for one explanation: a method, perhaps at several layers, perhaps over copies, perhaps verified."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

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

    def once(request: Request) -> Attribution:
        found = method(request, settings)
        return verified(method, request, found, settings) if verify else found

    def at_layers(request: Request) -> Attribution:
        return once(request) if layers is None else fused(once, request, layers)

    def over_copies(request: Request) -> Attribution:
        return at_layers(request) if smoothing is None else smoothed(at_layers, request, smoothing)

    return over_copies
