"""Input x gradient: the first-order share of each pixel in the score."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xai_med.backend.tensors import Tensor, shape_of
from xai_med.checks import Check
from xai_med.errors import NotApplicableError
from xai_med.input_gradients import gradients_at_input, read_out_check, read_out_named
from xai_med.method import CELLS_AT_ONCE
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.verification import Claim, in_double, score_at_input, slope_checks


def verify_input_x_gradient(
    request: Request, attribution: Attribution, settings: Mapping[str, Any]
) -> tuple[Check, ...]:
    """Compare with difference quotients of the score by a factor of each pixel, and the read-out with its definition.

    Parameters
    ----------
    request, attribution : Request, Attribution
        The question and the result.
    settings : mapping
        Of the method.
    """
    tensors = request.network.tensors
    pooled = read_out_check(attribution, settings["read_out"], tensors)
    double = in_double(request, attribution.explained)
    images, score = tensors.to_numpy(double.batch), score_at_input(double)
    values = tensors.to_numpy(attribution.values).astype(np.float64)
    dtype = tensors.dtype(attribution.values)
    claim = Claim(lambda factor: score(images * factor), np.ones_like(images), images, values, dtype)
    return pooled, *slope_checks(claim, what="input x gradient")


@register_method(
    "input_x_gradient",
    source="Shrikumar et al. 2016, arXiv:1605.01713, section 2",
    cost="one forward pass, and per class one pullback to the input",
    needs="a differentiable model; pixels whose zero means nothing there",
    properties=("linear_in_target", "mirror_equivariant"),
    verification=verify_input_x_gradient,
    cells_at_once=CELLS_AT_ONCE,
)
def input_x_gradient(request: Request, *, read_out: str = "signed_sum") -> Attribution:
    """Multiply the gradient by the input itself.

    For a ReLU network without biases the sum is the score. A pixel of value zero receives nothing, whatever it means:
    on a radiograph that was normalised to mean zero, mid-grey is invisible. Integrated gradients let the baseline be
    chosen.

    Parameters
    ----------
    request : Request
        What to explain.
    read_out : str
        As for ``gradient``; by default the signed sum over channels, which keeps the sum.

    Returns
    -------
    Attribution
        `values` (N, K, C, *space), in units of the score; `maps` (N, K, *space).

    Raises
    ------
    SettingError
        Unknown read-out.
    NotApplicableError
        ``differentiable=True``; use ``gradient`` and multiply.
    """
    if request.differentiable:
        raise NotApplicableError("input x gradient keeps no graph; use method='gradient', and multiply by the input")
    found, tensors = gradients_at_input(request, "input_x_gradient", read_out), request.network.tensors
    images, *rest = shape_of(request.batch)
    values: Tensor = found.values * tensors.reshape(request.batch, (images, 1, *rest))
    return Attribution(values, read_out_named(read_out)(values, tensors), found.explained)
