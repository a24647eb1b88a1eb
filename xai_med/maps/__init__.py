"""Kernels on maps: class activation, dominance, resizing, normalisation."""
