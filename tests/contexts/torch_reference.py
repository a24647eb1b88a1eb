"""The reference network as a user of PyTorch would write it."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from contexts.reference_network import arrays, images


class Network(nn.Module):
    """Modules and functions mixed; subclasses override `body`, `head` or `forward`."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4, eps=2.0**-10)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)
        self.double()
        state = {name: torch.from_numpy(np.array(array, np.float64)) for name, array in arrays().items()}
        self.load_state_dict(state, strict=False)  # the count of batches is not among the numbers
        self.eval()

    def body(self, x):
        x = F.relu(self.norm(self.conv1(x)))
        return F.relu(self.conv2(F.max_pool2d(x, 2)))

    def head(self, features):
        return self.fc(features.mean((2, 3)))

    def forward(self, x):
        return self.head(self.body(x))


def with_body(body):
    """A model whose body is a function of (the model, the images)."""
    return _with("body", body)


def with_head(head):
    """A model whose head is a function of (the model, the features)."""
    return _with("head", head)


def after_body(change):
    """A model that changes its features by a function of them."""
    return with_body(lambda model, x: change(Network.body(model, x)))


def _with(name, function):
    return type(f"Other{name.title()}", (Network,), {name: function})()


def native(count=2, dtype=torch.float64):
    """The images as a tensor."""
    return torch.from_numpy(images(count)).to(dtype)
