"""Guided backpropagation: the gradient, kept positive at every ReLU on its way back."""

from xai_med.errors import NotApplicableError
from xai_med.input_gradients import gradients_at_input, verify_read_out
from xai_med.method import CELLS_AT_ONCE
from xai_med.rectified import rectified
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.rules import GuidedReLU


@register_method(
    "guided_backprop",
    source="Springenberg et al. 2015, arXiv:1412.6806, section 3.4",
    cost="one forward pass, and per class one pullback to the input",
    needs="a ReLU network",
    properties=("mirror_equivariant", "non_negative"),
    verification=verify_read_out,
    cells_at_once=CELLS_AT_ONCE,
)
def guided_backprop(request: Request, *, read_out: str = "max_abs") -> Attribution:
    """Let only positive signals pass back, and only through ReLUs that were on.

    **Do not read these maps as evidence.** They hardly change when the model's weights are replaced by noise (Adebayo
    et al. 2018, arXiv:1810.03292): they are close to a picture of the image's edges (Nie et al. 2018,
    arXiv:1805.07039), and hardly depend on the class. Offered for comparison with published figures.

    Parameters
    ----------
    request : Request
        What to explain.
    read_out : str
        As for ``gradient``.

    Returns
    -------
    Attribution
        `values` (N, K, C, *space): what arrives, the derivative of no score; `maps` (N, K, *space).

    Raises
    ------
    NotApplicableError
        The model has no ReLU, or rectifies by a comparison.
    UnsupportedOperationError
        The model has an activation of another kind.
    SettingError
        Unknown read-out.
    """
    if request.differentiable:
        raise NotApplicableError("guided backpropagation changes derivatives, and is not differentiable itself")
    changed = rectified(GuidedReLU(), instead="method='gradient'")
    return gradients_at_input(request, "guided_backprop", read_out, rules=changed.rules, look=changed.look)
