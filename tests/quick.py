"""All built-in methods that explain convolutional networks, with settings under which none takes long."""

from collections.abc import Mapping
from typing import Any

from xai_med import methods
from xai_med.blueprints import Blueprint
from xai_med.testing import example_input

CLASSIC = ("cam", "clear", "grad_cam", "gradient", "lrp")
"""Measured on real data and at full size; the others are made of the same parts."""

ELSEWHERE = ("attention_gradient", "attention_rollout", "seg_grad_cam")
"""Need a transformer, or one value per pixel, and are tested where there are such networks."""

METHODS = sorted(set(methods()) - set(ELSEWHERE))

_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "integrated_gradients": {"steps": 5, "tolerance": 0.3},
    "kernel_shap": {"parts": "tiles", "count": 5},
    "lime": {"parts": "tiles", "count": 5, "samples": 12},
    "rise": {"masks": 8, "cells": 2},
    "smooth_grad": {"samples": 3},
}


def quick(method: str, blueprint: Blueprint) -> Mapping[str, Any]:
    """Settings of a method for a network's images."""
    if method == "expected_gradients":
        return {"references": example_input(blueprint, 3, 4), "samples": 4}
    return _SETTINGS.get(method, {})
