"""Rules and composites: small values that change how derivatives flow through one kind of operation."""

from xai_med.backend.rule import Composite, Rule
from xai_med.rules.alpha_beta import AlphaBeta
from xai_med.rules.composites import (
    COMPOSITES,
    WITH_RANGE,
    epsilon_alpha2_beta1,
    epsilon_alpha2_beta1_flat,
    epsilon_everywhere,
    epsilon_gamma_box,
    epsilon_plus,
    epsilon_plus_flat,
    excitation_backprop,
)
from xai_med.rules.counted import counted, operations_check
from xai_med.rules.epsilon import Epsilon
from xai_med.rules.excitation import ContrastiveExcitation, Excitation, ExcitationShare
from xai_med.rules.first_layer import Flat, WSquare
from xai_med.rules.gamma import Gamma
from xai_med.rules.keep import Keep
from xai_med.rules.normalisation import FixedSpread
from xai_med.rules.passing import Pass
from xai_med.rules.product import Product
from xai_med.rules.rectifier import DeconvReLU, GuidedReLU, IdentityReLU
from xai_med.rules.share import Share
from xai_med.rules.signs import noting_signs, signs_check
from xai_med.rules.z_box import ZBox
from xai_med.rules.z_plus import ZPlus

__all__ = [
    "COMPOSITES",
    "WITH_RANGE",
    "AlphaBeta",
    "Composite",
    "ContrastiveExcitation",
    "DeconvReLU",
    "Epsilon",
    "Excitation",
    "ExcitationShare",
    "FixedSpread",
    "Flat",
    "Gamma",
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
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
    "epsilon_everywhere",
    "epsilon_gamma_box",
    "epsilon_plus",
    "epsilon_plus_flat",
    "excitation_backprop",
    "noting_signs",
    "operations_check",
    "signs_check",
]
