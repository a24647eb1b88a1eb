"""Networks stated as arrays and steps, which every backend can build."""

from xai_med.blueprints.blueprint import INPUT, OPERATIONS, Blueprint, Step

__all__ = ["INPUT", "OPERATIONS", "Blueprint", "Step"]
