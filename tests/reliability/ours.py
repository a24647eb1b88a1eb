"""Our own library as a subject."""

import warnings
from typing import Any

from reliability import convention
from reliability.kit import Kit
from reliability.stages import Rule
from reliability.subject import Map, Question, Subject
from xai_med import explain
from xai_med.errors import XaiMedError


def subject(kit: Kit) -> Subject:
    """`xai_med` in one framework, as its README shows it."""
    return Subject(
        name="xai_med",
        kit=kit,
        methods={"cam": cam, "grad_cam": grad_cam, "gradient": gradient, "lrp": lrp, "clear": clear, "guided": guided},
        rule=Rule("epsilon_plus", 1e-6),
        predicted=frozenset({"cam", "grad_cam", "gradient", "lrp"}),
        is_refusal=lambda error: isinstance(error, XaiMedError) and len(str(error)) > 30,
    )


def cam(asked: Question) -> Map:
    """At what enters the global pool, unless a layer is asked for."""
    return _map(asked, "cam", convention.raw, layer=asked.layer)


def grad_cam(asked: Question) -> Map:
    return _map(asked, "grad_cam", convention.positive, layer=asked.layer)


def gradient(asked: Question) -> Map:
    return _map(asked, "gradient", convention.raw)


def lrp(asked: Question) -> Map:
    return _map(asked, "lrp", convention.raw)


def clear(asked: Question) -> Map:
    return _map(asked, "clear", convention.raw)


def guided(asked: Question) -> Map:
    """Guided ReLUs are a setting of CLEAR, whose signal starts with the strength of the logit."""
    found = _map(asked, "clear", convention.up_to_scale, relu="guided")
    return Map(convention.up_to_scale(found.values, ()), found.convention, found.enlarged, found.notes)


def _map(asked: Question, method: str, rule: Any, **settings: Any) -> Map:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = explain(asked.model, asked.x, method=method, target=asked.target, **settings)
    notes = [str(warning.message) for warning in caught] + [str(check) for check in found.checks]
    enlarged = found.maps[:, 0] if method in ("cam", "grad_cam") else None
    return Map(found.attribution[:, 0].astype(float), rule, enlarged, tuple(notes))
