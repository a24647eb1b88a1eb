"""The one visible table of built-in methods; nothing is imported before it is used."""

from collections.abc import Mapping
from types import MappingProxyType

BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "cam": "xai_med.methods.cam:cam",
        "clear": "xai_med.methods.clear:clear",
        "grad_cam": "xai_med.methods.grad_cam:grad_cam",
        "gradient": "xai_med.methods.gradient:gradient",
        "lrp": "xai_med.methods.lrp:lrp",
    }
)
"""Name to ``module:object``."""
