"""Pulls many cotangents back over one graph of derivatives at once; the autograd engine takes one at a time."""

from xai_med_torch.reverse.batched import pull_back_together
from xai_med_torch.reverse.fitness import largest_of, suits
from xai_med_torch.reverse.ways import Ways, find_ways

__all__ = ["Ways", "find_ways", "largest_of", "pull_back_together", "suits"]
