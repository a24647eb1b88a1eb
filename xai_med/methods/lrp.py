"""Layer-wise relevance propagation by surrogates: one forward pass under rules, one pullback per class."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xai_med.checks import Check
from xai_med.errors import SettingError
from xai_med.method import CELLS_AT_ONCE
from xai_med.registry import register_method
from xai_med.relevance import lost_share, propagated, verify_propagated
from xai_med.request import Attribution, Request
from xai_med.rules import COMPOSITES, WITH_RANGE, Composite

_EPSILON = 1e-6  # as in the published EpsilonPlus
_LOSSES = "shares go to biases, stabilisers and dead units; negative: biases, or alpha above 1, added relevance"


def verify_lrp(request: Request, attribution: Attribution, settings: Mapping[str, Any]) -> tuple[Check, ...]:
    """Compare relevance with difference quotients of the score by the probe, under rules whose fixed parts stay fixed.

    Parameters
    ----------
    request, attribution : Request, Attribution
        The question and the result.
    settings : mapping
        Of the method.
    """
    rules = _composite(settings["composite"], settings["epsilon"])
    return verify_propagated(request, attribution.values, attribution.maps, attribution.explained, rules, starts=1.0)


@register_method(
    "lrp",
    source="Bach et al. 2015, doi:10.1371/journal.pone.0130140; composite: Kohlbrenner et al. 2020, arXiv:1910.09840",
    cost="about two forward passes, and per class one pullback to the input",
    needs="a rule for every operation on the way",
    properties=("linear_in_target", "mirror_equivariant"),
    verification=verify_lrp,
    cells_at_once=CELLS_AT_ONCE,
)
def lrp(request: Request, *, composite: str | Composite = "epsilon_plus", epsilon: float = _EPSILON) -> Attribution:
    """Hand the logit back to the pixels, layer by layer, by conservative rules.

    Parameters
    ----------
    request : Request
        Targets must be linear in the logits.
    composite : str or Composite
        Which rule for which operation: ``"epsilon_plus"``, ``"epsilon_plus_flat"``, ``"epsilon"``,
        ``"epsilon_alpha2_beta1"``, ``"epsilon_alpha2_beta1_flat"``, ``"excitation_backprop"``, or a value such as
        ``epsilon_gamma_box(low, high)`` or ``epsilon_plus().at("features.*", Gamma())``, from `xai_med.rules`.
    epsilon : float
        Stabiliser of the named composites, absolute, in units of activations; a composite value has its own.

    Returns
    -------
    Attribution
        `values` (N, K, C, *space): relevance, in units of the logit; `maps` their sum over channels. What does
        not arrive (biases, stabilisers, dead units) is reported as the lost share.

    Raises
    ------
    UnsupportedOperationError
        An operation on the way has no rule; it is named.
    LayerError
        A rule is placed at a layer that does not exist, or where it is applied to nothing.
    NotApplicableError
        The composite has a rule for the first layer, and no layer with weights reads the image itself.
    """
    rules = _composite(composite, epsilon)
    found = propagated(request, rules, method="lrp")
    maps = request.network.tensors.to_numpy(found.maps)
    checks = (lost_share(maps, found.explained.selection.scores, epsilon, note=_LOSSES), found.operations)
    return Attribution(found.values, found.maps, found.explained, checks=checks, rules=rules.describe())


def _composite(composite: str | Composite, epsilon: float) -> Composite:
    if isinstance(composite, Composite):
        if epsilon != _EPSILON:
            raise SettingError(
                f"epsilon={epsilon!r} was given beside the composite {composite.name!r}, which has its own; "
                f"set it where the composite is made"
            )
        return composite
    if composite in WITH_RANGE:
        raise SettingError(
            f"composite={composite!r} needs the range of the model's input: give the value "
            f"composite={composite}(low, high), from xai_med.rules"
        )
    if composite not in COMPOSITES:
        raise SettingError(f"composite={composite!r} is unknown; choose one of {', '.join(COMPOSITES)}, or a Composite")
    if not (isinstance(epsilon, float | int) and 0 <= epsilon < np.inf):
        raise SettingError(f"epsilon must be a number of at least 0, got {epsilon!r}")
    return COMPOSITES[composite](epsilon=float(epsilon))
