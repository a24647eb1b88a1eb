"""The one visible table of built-in methods; nothing is imported before it is used."""

from collections.abc import Mapping
from types import MappingProxyType

BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "cam": "xai_med.methods.cam:cam",
        "clear": "xai_med.methods.clear:clear",
        "grad_cam": "xai_med.methods.grad_cam:grad_cam",
        "grad_cam_plus_plus": "xai_med.methods.grad_cam_plus_plus:grad_cam_plus_plus",
        "gradient": "xai_med.methods.gradient:gradient",
        "hires_cam": "xai_med.methods.hires_cam:hires_cam",
        "layer_cam": "xai_med.methods.layer_cam:layer_cam",
        "lrp": "xai_med.methods.lrp:lrp",
        "xgrad_cam": "xai_med.methods.xgrad_cam:xgrad_cam",
    }
)
"""Name to ``module:object``."""
