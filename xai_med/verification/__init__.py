"""Independent numbers on one result: what ``explain(..., verify=True)`` adds to it."""

from xai_med.verification.again import verify_again
from xai_med.verification.agreement import agreement_check
from xai_med.verification.differences import Claim, Objective, slope_checks
from xai_med.verification.double import in_double, where_possible
from xai_med.verification.energy import energy_at_input
from xai_med.verification.frozen import frozen
from xai_med.verification.objectives import score_at_input, score_from
from xai_med.verification.occlusion import occlusion_check
from xai_med.verification.verified import verified

__all__ = [
    "Claim",
    "Objective",
    "agreement_check",
    "energy_at_input",
    "frozen",
    "in_double",
    "occlusion_check",
    "score_at_input",
    "score_from",
    "slope_checks",
    "verified",
    "verify_again",
    "where_possible",
]
