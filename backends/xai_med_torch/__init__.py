"""PyTorch adapter of xai_med: function-level interception, pullbacks and tensor operations."""

from xai_med_torch.backend import TorchBackend

__all__ = ["TorchBackend"]
