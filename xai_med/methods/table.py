"""The visible tables of built-in methods and backends; nothing is imported before it is used."""

from collections.abc import Mapping
from types import MappingProxyType

BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "ablation_cam": "xai_med.methods.ablation_cam:ablation_cam",
        "attention_gradient": "xai_med.methods.attention_gradient:attention_gradient",
        "attention_rollout": "xai_med.methods.attention_rollout:attention_rollout",
        "cam": "xai_med.methods.cam:cam",
        "clear": "xai_med.methods.clear:clear",
        "deconvnet": "xai_med.methods.deconvnet:deconvnet",
        "eigen_cam": "xai_med.methods.eigen_cam:eigen_cam",
        "eigen_grad_cam": "xai_med.methods.eigen_grad_cam:eigen_grad_cam",
        "excitation_backprop": "xai_med.methods.excitation_backprop:excitation_backprop",
        "expected_gradients": "xai_med.methods.expected_gradients:expected_gradients",
        "grad_cam": "xai_med.methods.grad_cam:grad_cam",
        "grad_cam_plus_plus": "xai_med.methods.grad_cam_plus_plus:grad_cam_plus_plus",
        "gradient": "xai_med.methods.gradient:gradient",
        "guided_backprop": "xai_med.methods.guided_backprop:guided_backprop",
        "guided_grad_cam": "xai_med.methods.guided_grad_cam:guided_grad_cam",
        "hires_cam": "xai_med.methods.hires_cam:hires_cam",
        "input_x_gradient": "xai_med.methods.input_x_gradient:input_x_gradient",
        "integrated_gradients": "xai_med.methods.integrated_gradients:integrated_gradients",
        "kernel_shap": "xai_med.methods.kernel_shap:kernel_shap",
        "layer_cam": "xai_med.methods.layer_cam:layer_cam",
        "lime": "xai_med.methods.lime:lime",
        "lrp": "xai_med.methods.lrp:lrp",
        "occlusion": "xai_med.methods.occlusion:occlusion",
        "recipro_cam": "xai_med.methods.recipro_cam:recipro_cam",
        "rise": "xai_med.methods.rise:rise",
        "score_cam": "xai_med.methods.score_cam:score_cam",
        "seg_grad_cam": "xai_med.methods.seg_grad_cam:seg_grad_cam",
        "smooth_grad": "xai_med.methods.smooth_grad:smooth_grad",
        "xgrad_cam": "xai_med.methods.xgrad_cam:xgrad_cam",
    }
)
"""Name to ``module:object``."""

BUILT_IN_BACKENDS: Mapping[str, str] = MappingProxyType({"callable": "xai_med.black_box:CallableBackend"})
"""What needs no framework; the adapters of frameworks are found by their packages' entry points."""
