"""Explain medical-imaging models: the same line and the same numbers in every framework.

>>> from xai_med import explain
>>> explanation = explain(model, x, method="cam")     # doctest: +SKIP
"""

__version__ = "0.1.0"

from xai_med.backend.tensors import Tensors
from xai_med.checks import Check
from xai_med.errors import XaiMedError
from xai_med.explain import attribute, explain
from xai_med.explanation import Explanation
from xai_med.maps.activation import class_activation_map
from xai_med.maps.dominance import Dominance, dominance
from xai_med.maps.resize import resize
from xai_med.registry import Method, backends, methods, register_backend, register_method
from xai_med.targets import All, Classes, Contrast, FunctionOfOutput, Mask, PerImage, Predicted, Probability, Sign

__all__ = [
    "All",
    "Check",
    "Classes",
    "Contrast",
    "Dominance",
    "Explanation",
    "FunctionOfOutput",
    "Mask",
    "Method",
    "PerImage",
    "Predicted",
    "Probability",
    "Sign",
    "Tensors",
    "XaiMedError",
    "__version__",
    "attribute",
    "backends",
    "class_activation_map",
    "dominance",
    "explain",
    "methods",
    "register_backend",
    "register_method",
    "resize",
]
