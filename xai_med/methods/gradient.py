"""Gradient saliency: how much the score changes with each pixel."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from xai_med.backend.numpy_tensors import NUMPY
from xai_med.backend.start import AtInput
from xai_med.backend.tensors import Tensor, Tensors, precision, shape_of
from xai_med.checks import Check
from xai_med.errors import SettingError
from xai_med.method import CELLS_AT_ONCE
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.verification import Claim, agreement_check, in_double, score_at_input, slope_checks

READ_OUTS: Mapping[str, Callable[[Tensor, Tensors], Tensor]] = MappingProxyType(
    {
        "max_abs": lambda gradient, tensors: tensors.amax(tensors.abs(gradient), (2,)),
        "abs_sum": lambda gradient, tensors: tensors.sum(tensors.abs(gradient), (2,)),
        "l2": lambda gradient, tensors: tensors.sqrt(tensors.sum(gradient * gradient, (2,))),
        "signed_sum": lambda gradient, tensors: tensors.sum(gradient, (2,)),
    }
)
"""How channels become one number; the first is Simonyan's."""


def verify_gradient(request: Request, attribution: Attribution, settings: Mapping[str, Any]) -> tuple[Check, ...]:
    """Compare the read-out with its definition, and the gradient with difference quotients of the score.

    Parameters
    ----------
    request, attribution : Request, Attribution
        The question and the result.
    settings : mapping
        Of the method.
    """
    tensors = request.network.tensors
    dtype = tensors.dtype(attribution.values)
    slopes, maps = (tensors.to_numpy(t).astype(np.float64) for t in (attribution.values, attribution.maps))
    read = READ_OUTS[settings["read_out"]](slopes, NUMPY)
    pooled = agreement_check(maps, read, 64 * precision(dtype), what="read-out of the channels", key="read_out")
    double = in_double(request, attribution.explained)
    images = tensors.to_numpy(double.batch)
    claim = Claim(score_at_input(double), images, images, slopes, dtype)
    return pooled, *slope_checks(claim, what="gradient")


@register_method(
    "gradient",
    source="Simonyan et al. 2014, arXiv:1312.6034, section 3",
    cost="one forward pass, and per class one pullback to the input",
    needs="a differentiable model",
    verification=verify_gradient,
    cells_at_once=CELLS_AT_ONCE,
)
def gradient(request: Request, *, read_out: str = "max_abs") -> Attribution:
    """Take the gradient of the score with respect to the input.

    Parameters
    ----------
    request : Request
        What to explain.
    read_out : str
        ``"max_abs"``, ``"abs_sum"``, ``"l2"`` or ``"signed_sum"`` over channels.

    Returns
    -------
    Attribution
        `values` (N, K, C, *space): the signed gradient, in units of the score per unit of input; `maps`
        (N, K, *space).

    Raises
    ------
    SettingError
        Unknown read-out.
    """
    if read_out not in READ_OUTS:
        raise SettingError(f"read_out={read_out!r} is unknown; choose one of {', '.join(READ_OUTS)}")
    request.without_layer("gradient")
    with request.network.trace(request.batch, start=AtInput(), differentiable=request.differentiable) as trace:
        explained = request.explained(trace)
        arriving = trace.pullback(
            explained.selection.outputs,
            request.cotangents(explained, trace),
            trace.captured,
            differentiable=request.differentiable,
        )
        read = READ_OUTS[read_out]
        maps: list[Tensor] = []

        def reading() -> Iterator[Tensor]:
            for slope in arriving:  # class by class: of a thousand classes no second array is made
                images, *rest = shape_of(slope)
                maps.append(read(trace.tensors.reshape(slope, (images, 1, *rest)), trace.tensors))
                yield slope

        gradients = trace.tensors.collect(reading(), explained.count, 1)
        return Attribution(gradients, trace.tensors.concatenate(maps, 1), explained)
