"""Verification of what CLEAR pulls back: the derivative of the energy of each class's own map."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xai_med.backend.numpy_tensors import NUMPY
from xai_med.backend.tensors import precision
from xai_med.checks import Check, unmeasured
from xai_med.request import Attribution, Request
from xai_med.responses import read_responses
from xai_med.verification import Claim, agreement_check, energy_at_input, in_double, slope_checks


def verify_responses(request: Request, attribution: Attribution, settings: Mapping[str, Any]) -> tuple[Check, ...]:
    """Compare what arrived with difference quotients of the energy of each class's own map, and its read-out.

    Parameters
    ----------
    request, attribution : Request, Attribution
        The question and the result.
    settings : mapping
        Of the method.
    """
    if settings["of"] is not None:
        what = f"verify the maps of {settings['of']!r} by asking for them themselves"
        return (unmeasured("responses of another method", what, key="difference_quotients"),)
    tensors = request.network.tensors
    dtype, scores = tensors.dtype(attribution.values), attribution.explained.selection.scores
    arrived, maps = (tensors.to_numpy(t).astype(np.float64) for t in (attribution.values, attribution.maps))
    read = read_responses(arrived, scores, NUMPY, settings)
    checked = agreement_check(maps, read, 256 * precision(dtype), what="read-out of the channels", key="read_out")
    what = "response"
    if settings["relu"] != "mask":
        why = f"what arrives under relu={settings['relu']!r} is the derivative of no score"
        return checked, unmeasured(what, why, key="difference_quotients")
    double = in_double(request, attribution.explained)
    energy = energy_at_input(double, settings["psi"])
    images = tensors.to_numpy(double.batch)
    claim = Claim(energy, images, images, arrived, dtype)
    return checked, *slope_checks(claim, what=what)
