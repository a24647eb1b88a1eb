"""Gradients of the score at the input, and how their channels become one number: what a family of methods shares."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from xai_med.backend.network import Trace
from xai_med.backend.numpy_tensors import NUMPY
from xai_med.backend.rule import Composite
from xai_med.backend.start import AtInput
from xai_med.backend.tensors import Tensor, Tensors, precision, shape_of
from xai_med.checks import Check, unmeasured
from xai_med.errors import SettingError
from xai_med.request import Attribution, Explained, Request
from xai_med.verification import Claim, agreement_check, in_double, score_at_input, slope_checks

READ_OUTS: Mapping[str, Callable[[Tensor, Tensors], Tensor]] = MappingProxyType(
    {
        "max_abs": lambda gradient, tensors: tensors.amax(tensors.abs(gradient), (2,)),
        "abs_sum": lambda gradient, tensors: tensors.sum(tensors.abs(gradient), (2,)),
        "l2": lambda gradient, tensors: tensors.sqrt(tensors.sum(gradient * gradient, (2,))),
        "signed_sum": lambda gradient, tensors: tensors.sum(gradient, (2,)),
    }
)
"""How channels of (N, K, C, *space) become one number; the first is Simonyan's."""


def read_out_named(name: str) -> Callable[[Tensor, Tensors], Tensor]:
    """One of `READ_OUTS`.

    Raises
    ------
    SettingError
        There is none of this name.
    """
    if name not in READ_OUTS:
        raise SettingError(f"read_out={name!r} is unknown; choose one of {', '.join(READ_OUTS)}")
    return READ_OUTS[name]


def gradients_at_input(
    request: Request,
    method: str,
    read_out: str,
    *,
    rules: Composite | None = None,
    look: Callable[[Explained, Trace], tuple[Check, ...]] | None = None,
) -> Attribution:
    """Pull every score back to the input.

    Parameters
    ----------
    request : Request
        What to explain; without a layer.
    method : str
        Name, for messages.
    read_out : str
        One of `READ_OUTS`.
    rules : Composite or None
        Under which other derivatives arrive than the true ones.
    look : callable or None
        Gets the trace before anything is pulled back: refuses, or says what it saw.

    Returns
    -------
    Attribution
        `values` (N, K, C, *space): what arrives; `maps` (N, K, *space): read out.

    Raises
    ------
    SettingError
        Unknown read-out, or a layer was given.
    """
    read = read_out_named(read_out)
    request.without_layer(method)
    with request.network.trace(
        request.batch, start=AtInput(), rules=rules, differentiable=request.differentiable
    ) as trace:
        explained = request.explained(trace)
        checks = () if look is None else look(explained, trace)
        arriving = trace.pullback(
            explained.selection.outputs,
            request.cotangents(explained, trace),
            trace.captured,
            differentiable=request.differentiable,
        )
        maps: list[Tensor] = []

        def reading() -> Iterator[Tensor]:
            for slope in arriving:  # class by class: of a thousand classes no second array is made
                images, *rest = shape_of(slope)
                maps.append(read(trace.tensors.reshape(slope, (images, 1, *rest)), trace.tensors))
                yield slope

        gradients = trace.tensors.collect(reading(), explained.count, 1)
        return Attribution(gradients, trace.tensors.concatenate(maps, 1), explained, checks=checks)


def read_out_check(attribution: Attribution, read_out: str, tensors: Tensors) -> Check:
    """Compare the map with the read-out of the values, computed anew.

    Raises
    ------
    IdentityError
        They differ.
    """
    digits = precision(tensors.dtype(attribution.values))
    values, maps = (tensors.to_numpy(t).astype(np.float64) for t in (attribution.values, attribution.maps))
    read = READ_OUTS[read_out](values, NUMPY)
    return agreement_check(maps, read, 64 * digits, what="read-out of the channels", key="read_out")


def verify_gradients(request: Request, attribution: Attribution, settings: Mapping[str, Any]) -> tuple[Check, ...]:
    """Compare the read-out with its definition, and the gradient with difference quotients of the score.

    Parameters
    ----------
    request, attribution : Request, Attribution
        The question and the result.
    settings : mapping
        Of the method.
    """
    tensors = request.network.tensors
    pooled = read_out_check(attribution, settings["read_out"], tensors)
    slopes = tensors.to_numpy(attribution.values).astype(np.float64)
    double = in_double(request, attribution.explained)
    images = tensors.to_numpy(double.batch)
    claim = Claim(score_at_input(double), images, images, slopes, tensors.dtype(attribution.values))
    return pooled, *slope_checks(claim, what="gradient")


def verify_read_out(request: Request, attribution: Attribution, settings: Mapping[str, Any]) -> tuple[Check, ...]:
    """Compare the read-out with its definition, where what arrives is the derivative of no score.

    Parameters
    ----------
    request, attribution : Request, Attribution
        The question and the result.
    settings : mapping
        Of the method.
    """
    why = "what arrives under changed rectifiers is the derivative of no score"
    return (
        read_out_check(attribution, settings["read_out"], request.network.tensors),
        unmeasured("what arrives at the input", why, key="difference_quotients"),
    )
