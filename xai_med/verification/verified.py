"""Adds independent checks to a result, or refuses it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from xai_med.checks import unmeasured
from xai_med.method import Method
from xai_med.request import Attribution, Request
from xai_med.verification.double import ImpossibleError
from xai_med.verification.plain_forward import plain_forward_check

_OF_THE_MAP, _KEY = "independent check of the map", "independent_check"


def verified(method: Method, request: Request, attribution: Attribution, settings: Mapping[str, Any]) -> Attribution:
    """Append what can be verified of a result to its checks.

    Parameters
    ----------
    method : Method
        With its own verification, if it has one.
    request, attribution : Request, Attribution
        The question and the result, of images that do not mix.
    settings : mapping
        That were given.

    Raises
    ------
    IdentityError
        The result is wrong.
    """
    checks = [plain_forward_check(request, attribution)]
    if method.verification is None:
        checks.append(unmeasured(_OF_THE_MAP, f"method {method.name!r} brings no verification of its own", key=_KEY))
    else:
        try:
            checks.extend(method.verification(request, attribution, {**method.settings, **settings}))
        except ImpossibleError as error:
            checks.append(unmeasured(_OF_THE_MAP, str(error), key=_KEY))
    return replace(attribution, checks=(*attribution.checks, *checks))
