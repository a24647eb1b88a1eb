"""CLEAR: for each place of the image, the class that it speaks for most, and how strongly."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from xai_med.backend.heads.head import Head, class_weights, find_head
from xai_med.backend.network import Trace
from xai_med.backend.numpy_tensors import NUMPY
from xai_med.backend.rule import Rule
from xai_med.backend.start import AtInput
from xai_med.backend.tensors import Array, Tensor, Tensors, precision, shape_of
from xai_med.checks import Check, unmeasured
from xai_med.errors import NotApplicableError, SettingError
from xai_med.maps.activation import class_activation_map
from xai_med.maps.dominance import dominance
from xai_med.method import CELLS_AT_ONCE
from xai_med.rectified import rectified
from xai_med.registry import register_method
from xai_med.request import Attribution, Explained, Request
from xai_med.rules import DeconvReLU, GuidedReLU, IdentityReLU, operations_check
from xai_med.verification import (
    Claim,
    agreement_check,
    energy_at_input,
    in_double,
    slope_checks,
)

_RECTIFIERS: Mapping[str, Rule | None] = MappingProxyType(
    {"mask": None, "identity": IdentityReLU(), "deconv": DeconvReLU(), "guided": GuidedReLU()}
)
_RESPONSES: Mapping[str, Callable[[Tensor, Tensors], Tensor]] = MappingProxyType(
    {
        "abs": lambda signal, tensors: tensors.abs(signal),
        "signed": lambda signal, _: signal,
        "relu": lambda signal, tensors: tensors.relu(signal),
    }
)
_CALIBRATIONS = ("none", "per_class_max", "sigmoid")
_CHANNELS = ("sum", "l2")


def verify_clear(request: Request, attribution: Attribution, settings: Mapping[str, Any]) -> tuple[Check, ...]:
    """Compare what arrived with difference quotients of the energy of each class's own map, and its read-out.

    Parameters
    ----------
    request, attribution : Request, Attribution
        The question and the result.
    settings : mapping
        Of the method.
    """
    tensors = request.network.tensors
    dtype, scores = tensors.dtype(attribution.values), attribution.explained.selection.scores
    arrived, maps = (tensors.to_numpy(t).astype(np.float64) for t in (attribution.values, attribution.maps))
    read = _responses(arrived, scores, NUMPY, *(settings[name] for name in ("response", "calibrate", "channels")))
    pooled = agreement_check(maps, read, 256 * precision(dtype), what="read-out of the channels", key="read_out")
    what = "response"
    if settings["relu"] != "mask":
        why = f"what arrives under relu={settings['relu']!r} is the derivative of no score"
        return pooled, unmeasured(what, why, key="difference_quotients")
    double = in_double(request, attribution.explained)
    energy = energy_at_input(double, settings["psi"])
    images = tensors.to_numpy(double.batch)
    claim = Claim(energy, images, images, arrived, dtype)
    return pooled, *slope_checks(claim, what=what)


@register_method(
    "clear",
    default_target="all",
    source="Kumar, Wong, Taylor 2017, arXiv:1704.04133, equations 3 to 6, generalised to any network",
    cost="one forward pass, and per class one pullback to the input",
    needs="several classes; a ReLU network for relu= other than 'mask'",
    verification=verify_clear,
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
    _check_settings(relu, response, psi, calibrate, channels, threshold)
    request.without_layer("clear")
    if request.differentiable:
        raise NotApplicableError("the class maps that CLEAR sends back are held fixed, so it is not differentiable")
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
        seeds = _seeds(trace, explained, coefficients, psi)
        arriving = trace.pullback(seeds.outputs, seeds.cotangents, trace.captured)
        arrived = trace.tensors.collect(arriving, explained.count, 1)
        maps = _responses(arrived, explained.selection.scores, trace.tensors, response, calibrate, channels)
        found = dominance(trace.tensors.to_numpy(maps), threshold=threshold)
        checks = (
            Check(
                "cells with tied classes",
                float(found.ties),
                note="the lowest position is taken",
                is_count=True,
                key="tied_cells",
                out_of=found.position.size,
            ),
            Check(
                "cells without a class",
                float((found.position < 0).sum()),
                is_count=True,
                key="classless_cells",
                out_of=found.position.size,
            ),
            met,
            *seeds.checks,
        )
        return Attribution(
            arrived,
            maps,
            explained,
            checks=checks,
            rules=(f"ReLU: {relu}", f"pulled back from: {seeds.place}"),
            extras={"dominant_class": found.position, "dominant_response": found.response},
        )


def _check_settings(relu: str, response: str, psi: str, calibrate: str, channels: str, threshold: float) -> None:
    choices: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("relu", relu, tuple(_RECTIFIERS)),
        ("response", response, tuple(_RESPONSES)),
        ("psi", psi, ("relu", "id")),
        ("calibrate", calibrate, _CALIBRATIONS),
        ("channels", channels, _CHANNELS),
    )
    for name, value, allowed in choices:
        if value not in allowed:
            raise SettingError(f"{name}={value!r} is unknown; choose one of {', '.join(allowed)}")
    if not 0 <= threshold < 1:
        raise SettingError(f"threshold is a share from 0 to below 1, got {threshold!r}")


@dataclass(frozen=True, eq=False)
class _Seeds:
    """Where the pullback begins, with each class's own score map (or score) as its cotangent."""

    outputs: Tensor
    cotangents: Iterator[Tensor]
    place: str
    checks: tuple[Check, ...] = ()


def _seeds(trace: Trace, explained: Explained, coefficients: Array, psi: str) -> _Seeds:
    tensors = trace.tensors
    try:
        head = find_head(trace, explained.logits.node)
    except NotApplicableError as error:  # no class maps: the logit takes their place (docs/methods.md)
        scores = explained.selection.scores
        strength = np.maximum(scores, 0) if psi == "relu" else scores
        logits = explained.selection.outputs
        cotangents = (
            tensors.from_numpy(cotangent * strength[:, k, None], logits)
            for k, cotangent in enumerate(explained.selection.cotangents)
        )
        why = str(error).split(": ")[1].split(";")[0]
        name = "responses pulled back from logits, for want of class maps"
        check = Check(name, 1.0, note=why, key="without_class_maps")
        return _Seeds(logits, cotangents, "logits", (check,))
    return _Seeds(head.entering, _class_maps(head, coefficients, trace, psi), trace.layer_name(head.node))


def _class_maps(head: Head, coefficients: Array, trace: Trace, psi: str) -> Iterator[Tensor]:
    tensors = trace.tensors
    features = tensors.stop_gradient(head.features)
    weights = tensors.stop_gradient(class_weights(head, coefficients, trace))
    class_maps = class_activation_map(features, weights, tensors=tensors)
    if psi == "relu":
        class_maps = tensors.relu(class_maps)
    back = [head.order.index(axis) for axis in range(len(head.order))]
    for k in range(shape_of(class_maps)[1]):
        chosen_map, chosen_weights = (tensors.sum(tensors.take(t, [k], 1), (1,)) for t in (class_maps, weights))
        cotangent = tensors.einsum("nc,n...->nc...", chosen_weights, chosen_map)
        yield tensors.transpose(cotangent, back)


def _responses(
    arrived: Tensor, scores: Array, tensors: Tensors, response: str, calibrate: str, channels: str
) -> Tensor:
    if channels == "l2":
        signal = tensors.sqrt(tensors.sum(arrived * arrived, (2,)))
    else:
        signal = tensors.sum(arrived, (2,))
    signal = _RESPONSES[response](signal, tensors)
    shape = shape_of(signal)
    ones = (1,) * (len(shape) - 2)
    if calibrate == "sigmoid":
        probability = tensors.from_numpy(1 / (1 + np.exp(-scores)), signal)
        return signal * tensors.reshape(probability, (*shape[:2], *ones))
    if calibrate == "per_class_max":
        largest = tensors.amax(tensors.abs(signal), tuple(range(2, len(shape))), keep=True)
        return signal / tensors.where(largest > 0, largest, largest * 0 + 1)
    return signal
