"""Layer-wise relevance propagation by surrogates: one forward pass under rules, one pullback per class."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xai_med.backend.operations import Kind
from xai_med.backend.record import Node
from xai_med.backend.start import AtInput
from xai_med.backend.tensors import Array, precision
from xai_med.checks import Check
from xai_med.covered import refuse_uncovered
from xai_med.errors import NotApplicableError, SettingError
from xai_med.method import CELLS_AT_ONCE
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.rules import COMPOSITES, Composite, counted, operations_check
from xai_med.verification import Claim, agreement_check, frozen, in_double, score_from, slope_checks

_EPSILON = 1e-6  # as in the published EpsilonPlus
_WEIGHTED = frozenset({Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION, Kind.LINEAR})


def verify_lrp(request: Request, attribution: Attribution, settings: Mapping[str, Any]) -> tuple[Check, ...]:
    """Compare relevance with difference quotients of the score by the probe, under rules whose fixed parts stay fixed.

    Parameters
    ----------
    request, attribution : Request, Attribution
        The question and the result.
    settings : mapping
        Of the method.
    """
    tensors = request.network.tensors
    dtype = tensors.dtype(attribution.values)
    relevance, maps = (tensors.to_numpy(t).astype(np.float64) for t in (attribution.values, attribution.maps))
    summed = agreement_check(
        maps, relevance.sum(axis=2), 256 * precision(dtype), what="sum over channels", key="read_out"
    )
    rules, parts = frozen(_composite(settings["composite"], settings["epsilon"]))
    double = in_double(request, attribution.explained)
    score = score_from(double, AtInput(probed=True), rules)

    def score_with_fixed_parts(displacement: Array) -> Array:
        found = score(displacement)
        parts.rewind()
        return found

    images = tensors.to_numpy(double.batch)
    claim = Claim(score_with_fixed_parts, np.ones_like(images), images, relevance, dtype)
    return summed, *slope_checks(claim, what="relevance")


@register_method(
    "lrp",
    source="Bach et al. 2015, doi:10.1371/journal.pone.0130140; composite: Kohlbrenner et al. 2020, arXiv:1910.09840",
    cost="about two forward passes, and per class one pullback to the input",
    needs="a rule for every operation on the way",
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
        Which rule for which kind of operation: ``"epsilon_plus"``, ``"epsilon_plus_flat"``, ``"epsilon"``, or a value.
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
    NotApplicableError
        The composite has a rule for the first layer, and no layer with weights reads the image itself.
    """
    request.without_layer("lrp")
    if request.differentiable:
        raise NotApplicableError("relevance is defined with fixed denominators and is not differentiable")
    rules, met = counted(_composite(composite, epsilon))
    with request.network.trace(request.batch, start=AtInput(probed=True), rules=rules) as trace:
        explained = request.explained(trace)
        explained.coefficients("lrp")
        refuse_uncovered(explained.logits.node, trace, rules.name)
        _refuse_unused_first_rule(explained.logits.node, rules)
        arriving = trace.pullback(explained.selection.outputs, request.cotangents(explained, trace), trace.captured)
        relevance = trace.tensors.collect(arriving, explained.count, 1)
        maps = trace.tensors.sum(relevance, (2,))
        checks = (
            lost_share(trace.tensors.to_numpy(maps), explained.selection.scores, epsilon),
            operations_check(explained.logits.node, met, merges_batch_norm=rules.merges_batch_norm),
        )
        return Attribution(relevance, maps, explained, checks=checks, rules=rules.describe())


def _composite(composite: str | Composite, epsilon: float) -> Composite:
    if isinstance(composite, Composite):
        if epsilon != _EPSILON:
            raise SettingError(
                f"epsilon={epsilon!r} was given beside the composite {composite.name!r}, which has its own; "
                f"set it where the composite is made"
            )
        return composite
    if composite not in COMPOSITES:
        raise SettingError(f"composite={composite!r} is unknown; choose one of {', '.join(COMPOSITES)}, or a Composite")
    if not (isinstance(epsilon, float | int) and 0 <= epsilon < np.inf):
        raise SettingError(f"epsilon must be a number of at least 0, got {epsilon!r}")
    return COMPOSITES[composite](epsilon=float(epsilon))


def _refuse_unused_first_rule(logits: Node, rules: Composite) -> None:
    """Refuse a rule for the first layer where another operation stands between the image and the first weights."""
    if rules.first is None:
        return
    readers = [node for node in logits.ancestors() if any(not parent.parents for parent in node.parents)]
    if not any(node.kind in _WEIGHTED for node in readers):
        names = ", ".join(dict.fromkeys(node.name for node in readers))
        raise NotApplicableError(
            f"the composite {rules.name!r} has a rule for the layer that reads the image, {rules.first.name}, but the "
            f"image goes through {names} first; put that outside the model, or use composite='epsilon_plus'"
        )


def lost_share(maps: Array, scores: Array, epsilon: float) -> Check:
    """How much of each score did not arrive: 1 - sum of relevance / score, the largest over images and classes."""
    arrived = maps.astype(np.float64).reshape(*maps.shape[:2], -1).sum(axis=2)
    share = 1 - arrived / np.where(scores == 0, 1, scores)
    worst = share.flat[np.abs(share).argmax()]
    note = "shares go to biases, stabilisers and dead units; negative: biases added relevance"
    if (np.abs(scores) < 1e3 * epsilon).any():
        note += f"; a score is so small that the stabiliser {epsilon:g} itself absorbs part of it: lower epsilon"
    return Check("lost share of relevance", float(worst), note=note, key="lost_share")
