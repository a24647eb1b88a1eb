"""Explain medical-imaging models: the same line and the same numbers in every framework.

>>> from xai_med import explain
>>> explanation = explain(model, x, method="cam")     # doctest: +SKIP
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

from xai_med.checks import Check
from xai_med.errors import XaiMedError
from xai_med.method import Method
from xai_med.registry import backends, methods, register_backend, register_method

if TYPE_CHECKING:
    from xai_med.backend.tensors import Tensors
    from xai_med.citations import citation
    from xai_med.evaluation import Evaluation, evaluate, sanity_check
    from xai_med.explanation import Explanation
    from xai_med.front_door import attribute, explain
    from xai_med.io.weights import read_weights
    from xai_med.loading import load_weights
    from xai_med.maps.activation import class_activation_map
    from xai_med.maps.dominance import Dominance, dominance
    from xai_med.maps.resize import resize
    from xai_med.targets import All, Classes, Contrast, FunctionOfOutput, Mask, PerImage, Predicted, Probability, Sign

__all__ = [
    "All",
    "Check",
    "Classes",
    "Contrast",
    "Dominance",
    "Evaluation",
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
    "citation",
    "class_activation_map",
    "dominance",
    "evaluate",
    "explain",
    "load_weights",
    "methods",
    "read_weights",
    "register_backend",
    "register_method",
    "resize",
    "sanity_check",
]

_TARGETS = ("All", "Classes", "Contrast", "FunctionOfOutput", "Mask", "PerImage", "Predicted", "Probability", "Sign")
# NumPy takes longer to import than all of the library: what needs it is imported when it is first used
_LATER = {
    "Dominance": "xai_med.maps.dominance",
    "Evaluation": "xai_med.evaluation",
    "Explanation": "xai_med.explanation",
    "Tensors": "xai_med.backend.tensors",
    "attribute": "xai_med.front_door",
    "citation": "xai_med.citations",
    "class_activation_map": "xai_med.maps.activation",
    "dominance": "xai_med.maps.dominance",
    "evaluate": "xai_med.evaluation",
    "explain": "xai_med.front_door",
    "load_weights": "xai_med.loading",
    "read_weights": "xai_med.io.weights",
    "resize": "xai_med.maps.resize",
    "sanity_check": "xai_med.evaluation",
    **dict.fromkeys(_TARGETS, "xai_med.targets"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'xai_med' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
