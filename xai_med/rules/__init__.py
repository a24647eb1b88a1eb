"""Rules and composites: small values that change how derivatives flow through one kind of operation."""

from xai_med.backend.rule import Composite, Rule
from xai_med.rules.composites import COMPOSITES, epsilon_everywhere, epsilon_plus, epsilon_plus_flat
from xai_med.rules.counted import counted, operations_check
from xai_med.rules.epsilon import Epsilon
from xai_med.rules.first_layer import Flat, WSquare, ZBox
from xai_med.rules.keep import Keep
from xai_med.rules.normalisation import FixedSpread
from xai_med.rules.passing import Pass
from xai_med.rules.product import Product
from xai_med.rules.rectifier import DeconvReLU, GuidedReLU, IdentityReLU
from xai_med.rules.share import Share
from xai_med.rules.z_plus import ZPlus

__all__ = [
    "COMPOSITES",
    "Composite",
    "DeconvReLU",
    "Epsilon",
    "FixedSpread",
    "Flat",
    "GuidedReLU",
    "IdentityReLU",
    "Keep",
    "Pass",
    "Product",
    "Rule",
    "Share",
    "WSquare",
    "ZBox",
    "ZPlus",
    "counted",
    "epsilon_everywhere",
    "epsilon_plus",
    "epsilon_plus_flat",
    "operations_check",
]
