"""zennit: relevance that begins as 1, at the one explained output."""

from types import MappingProxyType

from xai_med.profiles.profile import Convention, Profile
from xai_med.profiles.shapes import as_attributed, from_one

_ONE_HOT = "with Gradient(model, {}) as attributor: attributor(x, one_hot)"

ZENNIT = Profile(
    name="zennit",
    compared_with="zennit 0.5.1",
    conventions=MappingProxyType(
        {
            "lrp": Convention(
                call=_ONE_HOT.format("EpsilonPlus(canonizers)"),
                differs="composite EpsilonPlus, or EpsilonPlusFlat (composite='epsilon_plus_flat'); relevance "
                "begins as 1: it is ours over the logit; each channel, (N, C, *space)",
                array=from_one,
                settings={"composite": ("epsilon_plus", "epsilon_plus_flat"), "epsilon": (1e-6,)},
            ),
            "gradient": Convention(
                call=_ONE_HOT.format("None"), differs="signed, each channel; (N, C, *space)", array=as_attributed
            ),
            "guided_backprop": Convention(
                call=_ONE_HOT.format("GuidedBackprop()"), differs="each channel; (N, C, *space)", array=as_attributed
            ),
            "deconvnet": Convention(
                call=_ONE_HOT.format("DeconvNet()"), differs="each channel; (N, C, *space)", array=as_attributed
            ),
        }
    ),
    faults=MappingProxyType(
        {
            "the epsilon of a merged batch norm": "it stays in the norm and divides once more, by 5e-6 of the values "
            "at the usual 1e-5; ours merges it",
            "batch norm without a canonizer": "which norms follow which convolution must be told, or guessed by the "
            "order of modules; ours sees the order in which they run",
            "additions and pools that are no modules": "they keep their own derivative: relevance doubles at each "
            "residual addition written as +; ours shares it",
        }
    ),
    not_covered=MappingProxyType(
        {
            "smooth_grad": "its last sample has no noise",
            "integrated_gradients": "it samples the ends of its steps, we their middles: another quadrature",
            "occlusion": "by default it keeps the window and hides the rest of the image: another question",
        }
    ),
)
"""zennit's conventions."""
