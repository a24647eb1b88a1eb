"""M3d-Cam (medcam), as its README shows it: a model is injected, then called."""

from medcam import medcam

from reliability import convention
from reliability.kit import Kit
from reliability.layers import name_of
from reliability.subject import Map, Question, Subject


def subject(kit: Kit) -> Subject:
    return Subject(
        name="medcam",
        kit=kit,
        methods={"grad_cam": grad_cam, "guided": guided},
        one_class=frozenset({"grad_cam", "guided"}),
        predicted=frozenset({"grad_cam"}),
        spaces=frozenset({2, 3}),
    )


def grad_cam(asked: Question) -> Map:
    """Positive, stretched to 0..1, not enlarged."""
    return _map(asked, "gcam", name_of(asked), convention.positive_stretched)


def guided(asked: Question) -> Map:
    """The mean over channels, stretched to 0..1."""
    return _map(asked, "gbp", "auto", convention.channel_mean_stretched)


def _map(asked: Question, backend: str, layer: str, rule: convention.Rule) -> Map:
    injected = medcam.inject(asked.model, backend=backend, layer=layer, label=asked.target)
    injected(asked.x)
    found = injected.get_attention_map()
    return Map(found[:, 0].astype(float), rule)
