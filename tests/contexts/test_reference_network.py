"""The answers that the other files compare with, checked by differences and sums; and that both models realise them."""

from importlib import import_module

import numpy as np
import pytest

from contexts.judging import assert_right
from contexts.reference_network import METHODS, TARGET, answers, images, logits, reference, run_twice
from xai_med.testing import oracle


def scores(x):
    return oracle.forward(reference(), x)["fc"][:, TARGET]


def test_the_gradient_is_the_limit_of_differences():
    x, step = images(), 1e-6
    gradient = answers("gradient")[:, 0]
    for place in ((0, 0, 0), (1, 4, 3), (0, 8, 6), (1, 2, 5)):
        shift = np.zeros_like(x)
        shift[(slice(None), *place)] = step
        difference = (scores(x + shift) - scores(x - shift)) / (2 * step)
        np.testing.assert_allclose(gradient[(slice(None), *place)], difference, rtol=1e-6, atol=1e-9)


def test_the_class_map_has_the_logit_as_its_mean_and_grad_cam_is_its_positive_part():
    bias = reference().steps[-1].arrays["bias"][TARGET]
    cam = answers("cam")[:, 0]
    np.testing.assert_allclose(cam.mean((1, 2)) + bias, logits()[:, TARGET], rtol=1e-12)
    np.testing.assert_allclose(answers("grad_cam")[:, 0], np.maximum(cam, 0) / cam[0].size, rtol=1e-12, atol=1e-15)


def test_clear_is_the_gradient_of_half_the_squared_positive_class_map():
    def energy(x):
        features, weights, _ = oracle.class_maps(reference(), x)
        return np.maximum(np.einsum("nchw,c->nhw", features, weights[TARGET]), 0).__pow__(2).sum((1, 2)) / 2

    x, step = images(), 1e-6
    for place in ((0, 1, 1), (1, 5, 3), (0, 7, 6)):
        shift = np.zeros_like(x)
        shift[(slice(None), *place)] = step
        difference = (energy(x + shift) - energy(x - shift)) / (2 * step)
        np.testing.assert_allclose(answers("clear")[(slice(None), 0, *place)], difference, rtol=1e-5, atol=1e-8)


def test_running_a_layer_twice_is_another_network():
    assert np.abs(logits(run_twice) - logits()).max() > 1e-3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("framework", ["torch", "paddle"])
def test_both_models_realise_the_reference(framework, method):
    pytest.importorskip(framework)
    written = import_module(f"contexts.{framework}_reference")
    assert_right(written.Network(), method, written.native(), share=1e-12)
