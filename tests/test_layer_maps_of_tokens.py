"""Grad-CAM and its relatives on tokens: against plain loops over features and gradients that hooks have caught."""

from functools import partial

import numpy as np
import pytest
from attention_networks import begun, read_first, small
from test_method_layer_maps import FORMULAS, asked
from token_networks import attended, block

from xai_med import explain

CASES = {"grad_cam": (lambda a, g: np.tensordot(g.reshape(len(g), -1).mean(1), a, 1), {}), **FORMULAS}


def positive_features(f, w, mark, x):
    """A block, features above zero, another block; the head reads the class token."""
    x = mark("features", f.sigmoid(block(f, w, mark, begun(f, w, x), 1, attended)))
    return read_first(f, w, block(f, w, mark, x, 2, attended))


NETWORK = small(positive_features)


def caught(images):
    """Features and gradients of class 1 at the places of the image, each (N, C, 2, 4), by a hook in PyTorch."""
    torch = pytest.importorskip("torch")
    model, kept = NETWORK.model("torch", ("features",)), []
    handle = model.features.register_forward_hook(lambda _, __, output: kept.append(output))
    (gradient,) = torch.autograd.grad(model(torch.tensor(images))[:, 1].sum(), kept)
    handle.remove()
    tokens = (part.detach().numpy()[:, 3:] for part in (kept[0], gradient))
    return (np.moveaxis(each, 2, 1).reshape(len(images), -1, 2, 4) for each in tokens)


@pytest.mark.parametrize("case", CASES)
def test_maps_of_tokens_are_those_of_plain_loops(case, backend):
    images = NETWORK.images(2)
    formula, expected = CASES[case][0], []
    for features, gradient in zip(*caught(images), strict=True):
        expected.append(formula(features, gradient))
    settings = {"method": "grad_cam"} if case == "grad_cam" else asked(case)
    model = NETWORK.model(backend.name, ("features",))
    run = partial(explain, model, images, target=1, layer="features", relu=False, **settings)
    found = run(verify=True)
    np.testing.assert_allclose(
        found.attribution[:, 0], expected, rtol=0, atol=1e-7 * np.abs(expected).max()
    )  # Paddle rounds epsilon
    assert found.check("recomputed").passed
