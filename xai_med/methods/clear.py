"""CLEAR: for each place of the image, the class that it speaks for most, and how strongly."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from xai_med.backend.rule import Rule
from xai_med.backend.start import AtInput
from xai_med.class_seeds import class_seeds
from xai_med.dominant import dominant_classes, dominant_of
from xai_med.errors import NotApplicableError, SettingError
from xai_med.method import CELLS_AT_ONCE
from xai_med.rectified import rectified
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.response_checks import verify_responses
from xai_med.responses import CALIBRATIONS, CHANNELS, RESPONSES, check_choices, read_responses
from xai_med.rules import DeconvReLU, GuidedReLU, IdentityReLU, operations_check

_RECTIFIERS: Mapping[str, Rule | None] = MappingProxyType(
    {"mask": None, "identity": IdentityReLU(), "deconv": DeconvReLU(), "guided": GuidedReLU()}
)
_BY_DEFAULT = {"relu": "mask", "psi": "relu", "channels": "sum"}


@register_method(
    "clear",
    default_target="all",
    source="Kumar, Wong, Taylor 2017, arXiv:1704.04133, equations 3 to 6, generalised to any network",
    cost="one forward pass, and per class one pullback to the input",
    needs="several classes; a ReLU network for relu= other than 'mask'",
    properties=("mirror_equivariant", "non_negative"),
    verification=verify_responses,
    cells_at_once=CELLS_AT_ONCE,
)
def clear(
    request: Request,
    *,
    relu: str = "mask",
    response: str = "abs",
    psi: str = "relu",
    calibrate: str = "none",
    channels: str = "sum",
    threshold: float = 0.0,
    of: str | None = None,
    of_settings: Mapping[str, Any] | None = None,
) -> Attribution:
    """Pull each class's own score map back to the image and compare the responses.

    Parameters
    ----------
    request : Request
        Targets must be linear in the logits; by default all classes (at most 20).
    relu : str
        Backward at a ReLU: ``"mask"`` (the true gradient), ``"identity"`` (the printed equations), ``"deconv"``,
        ``"guided"``.
    response : str
        ``"abs"``, ``"signed"`` (the printed equations) or ``"relu"`` of what arrives.
    psi : str
        ``"relu"`` pulls back positive evidence only; ``"id"`` as printed, under which a strongly rejected class
        looks as present as an accepted one.
    calibrate : str
        ``"none"``, ``"per_class_max"`` (each class's response divided by its maximum) or ``"sigmoid"`` (times the
        sigmoid of its score).
    channels : str
        ``"sum"`` or ``"l2"`` over input channels.
    threshold : float
        Share of the largest response up to which a place belongs to no class.
    of : str or None
        Another method whose maps are compared in place of what is pulled back here, as the paper suggests: then
        `relu`, `psi` and `channels` have no effect and must stay as they are.
    of_settings : mapping or None
        Of that method.

    Returns
    -------
    Attribution
        `values` (N, K, C, *space): what arrives for each class; `maps` (N, K, *space): responses;
        `extras`: ``dominant_class`` (position among the explained classes, -1 for none), ``dominant_response``.

    Raises
    ------
    NotApplicableError
        No ReLU for `relu` to act on, or a target that is not linear in the logits.
    """
    given = {"relu": relu, "response": response, "psi": psi, "calibrate": calibrate, "channels": channels}
    _check_settings(given, threshold, of, of_settings)
    if request.differentiable:
        raise NotApplicableError("the class maps that CLEAR sends back are held fixed, so it is not differentiable")
    if of is not None:
        settings = dict(of_settings or {})
        return dominant_of(request, of, settings, response=response, calibrate=calibrate, threshold=threshold)
    request.without_layer("clear")
    rule = _RECTIFIERS[relu]
    changed = None if rule is None else rectified(rule, instead="relu='mask'")
    rules = None if changed is None else changed.rules
    with request.network.trace(request.batch, start=AtInput(), rules=rules) as trace:
        explained = request.explained(trace)
        coefficients = explained.coefficients("clear")
        if changed is None:
            met = operations_check(explained.logits.node, Counter())
        else:
            (met,) = changed.look(explained, trace)
        seeds = class_seeds(trace, explained, coefficients, psi)
        arriving = trace.pullback(seeds.outputs, seeds.cotangents, trace.captured)
        arrived = trace.tensors.collect(arriving, explained.count, 1)
        maps = read_responses(arrived, explained.selection.scores, trace.tensors, given)
        extras, checks = dominant_classes(trace.tensors.to_numpy(maps), threshold=threshold)
        return Attribution(
            arrived,
            maps,
            explained,
            checks=(*checks, met, *seeds.checks),
            rules=(f"ReLU: {relu}", f"pulled back from: {seeds.place}"),
            extras=extras,
        )


def _check_settings(given: Mapping[str, str], threshold: float, of: str | None, of_settings: Any) -> None:
    known = {
        "relu": tuple(_RECTIFIERS),
        "response": tuple(RESPONSES),
        "psi": ("relu", "id"),
        "calibrate": CALIBRATIONS,
        "channels": CHANNELS,
    }
    check_choices(**{name: (value, known[name]) for name, value in given.items()})
    if not 0 <= threshold < 1:
        raise SettingError(f"threshold is a share from 0 to below 1, got {threshold!r}")
    changed = [name for name, value in _BY_DEFAULT.items() if given[name] != value]
    if of is not None and changed:
        raise SettingError(f"{changed[0]}= is of CLEAR's own responses and has no effect with of={of!r}; remove it")
    if of is None and of_settings is not None:
        raise SettingError("of_settings are of the method named by of=; give both")
