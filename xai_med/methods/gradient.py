"""Gradient saliency: how much the score changes with each pixel."""

from xai_med.input_gradients import gradients_at_input, verify_gradients
from xai_med.method import CELLS_AT_ONCE
from xai_med.registry import register_method
from xai_med.request import Attribution, Request


@register_method(
    "gradient",
    source="Simonyan et al. 2014, arXiv:1312.6034, section 3",
    cost="one forward pass, and per class one pullback to the input",
    needs="a differentiable model",
    properties=("linear_in_target", "mirror_equivariant", "non_negative"),
    verification=verify_gradients,
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
    return gradients_at_input(request, "gradient", read_out)
