"""Deconvnet: what comes back is rectified, as the signal was on its way up."""

from xai_med.errors import NotApplicableError
from xai_med.input_gradients import gradients_at_input, verify_read_out
from xai_med.method import CELLS_AT_ONCE
from xai_med.rectified import rectified
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.rules import DeconvReLU


@register_method(
    "deconvnet",
    source="Zeiler, Fergus 2014, arXiv:1311.2901, section 2.1",
    cost="one forward pass, and per class one pullback to the input",
    needs="a ReLU network",
    properties=("non_negative",),  # what reaches units that were off goes by the order of equal values in a pool
    verification=verify_read_out,
    cells_at_once=CELLS_AT_ONCE,
)
def deconvnet(request: Request, *, read_out: str = "max_abs") -> Attribution:
    """Let only positive signals pass back at ReLUs, whether these were on or off.

    **Do not read these maps as evidence.** Like guided backpropagation they come close to a picture of the image's
    edges, whatever the weights and the class (Nie et al. 2018, arXiv:1805.07039; Adebayo et al. 2018,
    arXiv:1810.03292). Offered for comparison with published figures.

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
        raise NotApplicableError("the deconvnet changes derivatives, and is not differentiable itself")
    changed = rectified(DeconvReLU(), instead="method='gradient'")
    return gradients_at_input(request, "deconvnet", read_out, rules=changed.rules, look=changed.look)
