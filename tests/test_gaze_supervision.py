"""Refined maps and attention losses: worked examples, derivatives by differences, the same in both frameworks."""

import numpy as np
import pytest

from xai_med.backend.numpy_tensors import NUMPY
from xai_med.errors import SettingError, ShapeError
from xai_med.gaze import attention_loss, refine_cams

M1 = np.array([[0.5, 6.0], [3.0, 0.5]])[None, None]
PREDICTED = np.array([[[0.8, 0.1], [0.1, 0.0]]])
GAZE = np.array([[[1.0, 0.0], [0.0, 0.0]]])


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def test_worked_example():
    found = refine_cams(M1, (2, 2), tensors=NUMPY)
    np.testing.assert_allclose(found.cams[0, 0], [[0, 1], [0.454545, 0]], atol=5e-7)
    np.testing.assert_allclose(found.sharpened[0, 0], [[4.248354e-18, 1], [0.995741, 4.248354e-18]], rtol=1e-5)


def test_maps_are_enlarged_with_their_corners_kept():
    found = refine_cams(M1, (3, 3), tensors=NUMPY).cams[0, 0]
    assert found[0, 2] == 1
    middle = (np.mean(M1) - 0.5) / 5.5
    assert found[1, 1] == pytest.approx(middle)


def test_a_constant_map_is_zero_and_sharpens_to_nothing():
    found = refine_cams(np.full((1, 1, 2, 2), 7.0), (2, 2), tensors=NUMPY)
    assert (found.cams == 0).all()
    assert (found.sharpened < 1e-16).all()


@pytest.mark.parametrize(
    ("distance", "expected", "tolerance"),
    [("mse", 0.015, 1e-9), ("bce", 0.108466, 2e-6), ("dice", 0.2, 1e-5), ("kl", 0.223144, 1e-5)],
)
def test_worked_example_of_each_distance(distance, expected, tolerance):
    assert attention_loss(PREDICTED, GAZE, tensors=NUMPY, distance=distance) == pytest.approx(expected, abs=tolerance)


def brute(predicted, gaze, distance):
    epsilon = 1e-6
    if distance == "mse":
        return ((predicted - gaze) ** 2).mean()
    if distance == "bce":
        kept = np.clip(predicted, epsilon, 1 - epsilon)
        return -(gaze * np.log(kept) + (1 - gaze) * np.log(1 - kept)).mean()
    if distance == "dice":
        return 1 - 2 * (predicted * gaze).sum() / (predicted.sum() + gaze.sum() + epsilon)
    p, g = predicted / (predicted.sum() + epsilon), gaze / (gaze.sum() + epsilon)
    return (g * np.log((g + epsilon) / (p + epsilon))).sum()


@pytest.mark.parametrize("distance", ["mse", "bce", "dice", "kl"])
def test_only_images_with_gaze_count_in_every_framework(backend, distance, rng):
    predicted, gaze = rng.random((2, 3, 4, 5))
    available = [True, False, True]
    found = attention_loss(
        backend.tensor(predicted), backend.tensor(gaze), tensors=backend.tensors, distance=distance, available=available
    )
    expected = np.mean([brute(predicted[n], gaze[n], distance) for n in (0, 2)])
    assert float(backend.tensors.to_numpy(found)) == pytest.approx(expected, rel=1e-9)
    nothing = attention_loss(
        backend.tensor(predicted),
        backend.tensor(gaze),
        tensors=backend.tensors,
        distance=distance,
        available=[False] * 3,
    )
    assert float(backend.tensors.to_numpy(nothing)) == 0


def gradient_of(backend, function, values):
    """Derivatives of a native scalar function, by the framework's own means."""
    tensor = backend.tensor(values)
    if backend.name == "torch":
        tensor.requires_grad_()
    else:
        tensor.stop_gradient = False
    function(tensor).backward()
    return np.asarray(tensor.grad.numpy())


@pytest.mark.parametrize("distance", ["mse", "bce", "dice", "kl"])
def test_derivatives_through_refined_maps_are_those_of_differences(backend, distance, rng):
    cams, gaze = rng.normal(size=(2, 1, 3, 4)), rng.random((2, 6, 8))

    def loss(tensors, values, target):
        refined = refine_cams(values, (6, 8), tensors=tensors)
        return attention_loss(tensors.reshape(refined.cams, (2, 6, 8)), target, tensors=tensors, distance=distance)

    found = gradient_of(backend, lambda values: loss(backend.tensors, values, backend.tensor(gaze)), cams)
    expected = np.zeros_like(cams)
    for place in np.ndindex(*cams.shape):
        step = np.zeros_like(cams)
        step[place] = 1e-6
        expected[place] = (loss(NUMPY, cams + step, gaze) - loss(NUMPY, cams - step, gaze)) / 2e-6
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_sharpened_maps_have_hardly_any_derivative_away_from_the_threshold(backend):
    cams = np.array([0.0, 0.2, 0.4, 1.0]).reshape(1, 1, 2, 2)
    found = gradient_of(
        backend, lambda values: refine_cams(values, (2, 2), tensors=backend.tensors).sharpened[0, 0, 0, 1], cams
    )
    assert abs(found[0, 0, 0, 1]) == pytest.approx(100 * sigmoid(-20) * sigmoid(20), rel=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"cams are \(N, K, h, w\)"):
        refine_cams(M1[0], (2, 2), tensors=NUMPY)
    with pytest.raises(ShapeError, match="alike"):
        attention_loss(PREDICTED, GAZE[:, :1], tensors=NUMPY)
    with pytest.raises(SettingError, match="distance is one of"):
        attention_loss(PREDICTED, GAZE, tensors=NUMPY, distance="l1")
    with pytest.raises(ShapeError, match="available names"):
        attention_loss(PREDICTED, GAZE, tensors=NUMPY, available=[True, True])


@pytest.mark.parametrize("name", ["amax", "amin"])
def test_derivatives_of_an_extreme_are_shared_by_all_that_are_equal(name, backend):
    values = np.array([[[3.0, 1.0, 3.0], [0.0, 2.0, 0.0]]])
    tensors = backend.tensors
    if backend.name == "torch":
        torch = pytest.importorskip("torch")
        x = torch.tensor(values, requires_grad=True)
    else:
        paddle = pytest.importorskip("paddle")
        x = paddle.to_tensor(values, stop_gradient=False)
    for axes, keep in (((1, 2), True), ((2,), False)):
        found = getattr(tensors, name)(x, axes, keep=keep)
        expected = getattr(np, name)(values, axis=axes, keepdims=keep)
        np.testing.assert_array_equal(tensors.to_numpy(found), expected)
        (7.0 * found.sum()).backward()
        kept = getattr(np, name)(values, axis=axes, keepdims=True)
        holds = values == kept
        np.testing.assert_allclose(tensors.to_numpy(x.grad), 7 * holds / holds.sum(axis=axes, keepdims=True))
        x.grad.zero_() if backend.name == "torch" else x.clear_gradient()
