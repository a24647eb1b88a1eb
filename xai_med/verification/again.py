"""Asks a method the same again in double precision, where nothing else is known of its result."""

from collections.abc import Callable, Mapping
from typing import Any

from xai_med.checks import Check
from xai_med.registry import get_method
from xai_med.request import Attribution, Request
from xai_med.verification.agreement import agreement_check
from xai_med.verification.double import in_double, where_possible

_ROUNDING = {"float64": 1e-9, "float32": 1e-3}


def verify_again(name: str) -> Callable[[Request, Attribution, Mapping[str, Any]], tuple[Check, ...]]:
    """Verification of a method without derivatives, for ``register_method(verification=)``.

    Parameters
    ----------
    name : str
        Of the method.

    Returns
    -------
    callable
        Runs the method on a copy of the model in double precision and compares the maps.
    """

    def verify(request: Request, attribution: Attribution, settings: Mapping[str, Any]) -> tuple[Check, ...]:
        tensors, double = request.network.tensors, in_double(request, attribution.explained)
        with where_possible():
            again = get_method(name)(double, settings)
        given, expected = tensors.to_numpy(attribution.values), tensors.to_numpy(again.values)
        tolerance = _ROUNDING.get(tensors.dtype(attribution.values), 0.1)
        what = "map, against the same in double precision"
        return (agreement_check(given, expected, tolerance, what=what, key="recomputed"),)

    return verify
