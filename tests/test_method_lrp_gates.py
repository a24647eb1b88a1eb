"""LRP through squeeze-excite gates and norms in PaddlePaddle and PyTorch, on the same weights and against NumPy."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from xai_med import explain

IMAGES = np.random.default_rng(11).normal(size=(2, 3, 5, 4))
EPSILON = 1e-12


def weights():
    rng = np.random.default_rng(4)
    return {
        "kernel": rng.normal(size=(4, 3)),
        "squeeze": rng.normal(size=(4, 4)),
        "scale": 1 + rng.normal(size=4) / 3,
        "shift": rng.normal(size=4) / 3,
        "head": rng.normal(size=(4, 2)),
    }


class Functions:
    """The few functions of a framework that the networks below are written with."""

    def __init__(self, name):
        if name == "torch":
            import torch

            self.sigmoid, self.relu, self.hard = torch.sigmoid, torch.relu, torch.nn.functional.hardsigmoid
            self.group_norm = lambda x, scale, shift: torch.nn.functional.group_norm(x, 2, scale, shift, 1e-5)
            self.instance_norm = lambda x, scale, shift: torch.nn.functional.instance_norm(x, None, None, scale, shift)
            self.base, self.tensor = torch.nn.Module, lambda array: torch.nn.Parameter(torch.tensor(array))
            self.conv = lambda x, kernel: torch.nn.functional.conv2d(x, kernel[:, :, None, None])
        else:
            import paddle
            from paddle.nn import functional

            self.sigmoid, self.relu = functional.sigmoid, functional.relu
            self.hard = lambda z: functional.hardsigmoid(z, slope=1 / 6)
            self.group_norm = lambda x, scale, shift: functional.group_norm(x, 2, 1e-5, scale, shift)
            self.instance_norm = lambda x, scale, shift: functional.instance_norm(x, None, None, scale, shift)
            self.base = paddle.nn.Layer
            self.tensor = lambda array: paddle.base.framework.EagerParamBase.from_tensor(paddle.to_tensor(array))
            self.conv = lambda x, kernel: functional.conv2d(x, kernel.unsqueeze([2, 3]))

    def model(self, step):
        """1 x 1 convolution, `step` on the features, global average pool, linear head."""
        functions = self

        class Network(functions.base):
            def __init__(self):
                super().__init__()
                for name, array in weights().items():
                    setattr(self, name, functions.tensor(array))

            def forward(self, x):
                features = step(functions, self, functions.conv(x, self.kernel))
                return features.mean((2, 3)) @ self.head

        model = Network()
        model.eval()
        return model


def squeeze_excite(functions, model, features, squash):
    return features * squash(features.mean((2, 3)) @ model.squeeze).reshape([len(features), 4, 1, 1])


STEPS = {
    "sigmoid gate": lambda f, m, x: squeeze_excite(f, m, f.relu(x), f.sigmoid),
    "hard sigmoid gate": lambda f, m, x: squeeze_excite(f, m, f.relu(x), f.hard),
    "gate by clip": lambda f, m, x: squeeze_excite(f, m, f.relu(x), lambda z: (z / 6 + 0.5).clip(0, 1)),
    "spatial gate": lambda f, m, x: f.relu(x) * f.sigmoid(x.mean(1, keepdim=True)),
    "gate of equal shape": lambda f, m, x: f.relu(x) * f.sigmoid(x),
    "denominator": lambda f, m, x: x / ((x * x).mean((1, 2, 3), keepdim=True) + 0.1) ** 0.5,
    "group norm": lambda f, m, x: f.relu(f.group_norm(x, m.scale, m.shift)),
    "instance norm": lambda f, m, x: f.relu(f.instance_norm(x, m.scale, m.shift)),
}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def factors(name, x):
    """What each cell of the features of one image is multiplied by where this is held fixed; relu included."""
    mask = (x > 0).astype(float)
    squeezed = np.maximum(x, 0).mean((1, 2)) @ weights()["squeeze"]
    hard = np.clip(squeezed / 6 + 0.5, 0, 1)
    return {
        "sigmoid gate": lambda: mask * sigmoid(squeezed)[:, None, None],
        "hard sigmoid gate": lambda: mask * hard[:, None, None],
        "gate by clip": lambda: mask * hard[:, None, None],
        "spatial gate": lambda: mask * sigmoid(x.mean(0, keepdims=True)),
        "gate of equal shape": lambda: mask * sigmoid(x),
        "denominator": lambda: np.ones_like(x) / np.sqrt((x * x).mean() + 0.1),
    }[name]()


def through_norm(x, groups, cotangent):
    """What arrives before a norm over `groups`, spread fixed; and the norm's output."""
    named = weights()
    grouped = x.reshape(groups, -1)
    spread = np.sqrt(grouped.var(1, keepdims=True) + 1e-5)
    output = (grouped - grouped.mean(1, keepdims=True)) / spread
    output = output.reshape(x.shape) * named["scale"][:, None, None] + named["shift"][:, None, None]
    back = cotangent(output) * named["scale"][:, None, None]
    back = back.reshape(groups, -1)
    return ((back - back.mean(1, keepdims=True)) / spread).reshape(x.shape)


def expected(name, image, target):
    named = weights()
    x = np.einsum("oc,chw->ohw", named["kernel"], image)
    seed = named["head"][:, target][:, None, None] / x[0].size
    if name in ("group norm", "instance norm"):
        groups = 2 if name == "group norm" else 4
        back = through_norm(x, groups, lambda output: seed * (output > 0))
    else:
        back = seed * factors(name, x)
    terms = named["kernel"][:, :, None, None] * image
    positive = np.maximum(terms, 0)
    return (positive * (x * back / (positive.sum(1) + EPSILON))[:, None]).sum(0)


@pytest.mark.parametrize("name", STEPS)
def test_relevance_behind_a_gate_or_norm(name, backend):
    model = Functions(backend.name).model(STEPS[name])
    found = explain(model, IMAGES, method="lrp", target="all", epsilon=EPSILON).attribution
    for position, image in enumerate(IMAGES):
        for target in range(2):
            assert_allclose(found[position, target], expected(name, image, target), rtol=0, atol=1e-8)
