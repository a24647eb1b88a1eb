"""A convolutional body and any head in PyTorch, and how two ways to write one model are compared."""

import re

import numpy as np
import torch
from torch import nn

from xai_med.errors import XaiMedError
from xai_med.registry import get_backend
from xai_med.testing.networks import NETWORKS, example_input


def network(name="vgg_like", **options):
    """Build a network and draw images for it."""
    blueprint = NETWORKS[name]()
    return get_backend("torch").build(blueprint, **options), torch.from_numpy(example_input(blueprint))


def assert_close(found, wanted, share=1e-5):
    """Compare within a share of the range."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=share * max(np.ptp(wanted), 1e-30))


class Sequence(nn.Module):
    """A convolutional body and a head given as a function of (body's output)."""

    def __init__(self, head, *, channels=4, classes=3):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.conv = nn.Conv2d(2, channels, 3, padding=1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(channels, classes)
        self.head = head
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
        self.eval()

    def forward(self, x):
        return self.head(self, self.relu(self.conv(x)))


def pooled(model, features):
    """Global average pool and a linear layer."""
    return model.fc(features.mean((2, 3)))


def right_or_refused(call, saying=r".{40}"):
    """Return a result, or None where it was refused in words that `saying` matches."""
    try:
        return call()
    except XaiMedError as error:
        refusal = str(error)
    assert re.search(saying, refusal)
    return None


def images(count=2, size=(7, 6), dtype=torch.float32):
    """Draw images of two channels."""
    return torch.randn(count, 2, *size, generator=torch.Generator().manual_seed(9), dtype=dtype)
