"""PaddlePaddle adapter of xai_med: interception of operations, pullbacks and tensor operations."""

from xai_med_paddle.backend import PaddleBackend

__all__ = ["PaddleBackend"]
