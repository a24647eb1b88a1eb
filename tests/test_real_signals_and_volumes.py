"""Real signals and volumes: heart beats (2 leads) and a head, three axes of three sizes, in every framework.

The networks are small and their bodies random; the head of the network for beats is fitted to the beats, in closed
form. Expected values are NumPy's, from sums over kernel offsets, and know no framework and no method.
"""

from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose
from parity import map_differences
from shifted_forward import forward

from xai_med import explain, methods
from xai_med.blueprints import INPUT, Blueprint
from xai_med.blueprints.weights import weights_of, with_weights
from xai_med.registry import get_backend
from xai_med.testing import oracle
from xai_med.testing.network_layers import batch_norm, convolution, linear, plain

METHODS = ("cam", "clear", "grad_cam", "gradient", "lrp")
BEATS = 6
STEP = 1e-6  # of difference quotients, float64


def beat_network(leads=2, length=256, *, bias=True):
    """Two convolutions with a max pool; for signals (leads, length)."""
    generator = np.random.default_rng(21)
    steps = (
        convolution(generator, "conv1", INPUT, (16, leads, 9), stride=2, padding=4, bias=bias),
        batch_norm(generator, "norm1", "conv1", 16, centred=not bias),
        plain("relu1", "relu", "norm1", style="module"),
        plain("pool1", "max_pool", "relu1", kernel=3, stride=2),
        convolution(generator, "conv2", "pool1", (24, 16, 5), padding=2, bias=bias),
        plain("relu2", "relu", "conv2", style="functional"),
        plain("pool", "global_average_pool", "relu2", style="module"),
        plain("flat", "flatten", "pool"),
        linear(generator, "classifier", "flat", (2, 24), bias=bias),
    )
    return Blueprint("beats", (leads, length), steps)


def head_network(shape, *, bias=True):
    """Two convolutions with an average pool, which has a derivative everywhere; for volumes (1, D, H, W)."""
    generator = np.random.default_rng(22)
    steps = (
        convolution(generator, "conv1", INPUT, (4, 1, 3, 3, 3), stride=2, padding=1, bias=bias),
        batch_norm(generator, "norm1", "conv1", 4, centred=not bias),
        plain("relu1", "relu", "norm1", style="in_place"),
        plain("pool1", "average_pool", "relu1", kernel=2, stride=2),
        convolution(generator, "conv2", "pool1", (6, 4, 3, 3, 3), padding=1, bias=bias),
        plain("relu2", "relu", "conv2", style="functional"),
        plain("pool", "global_average_pool", "relu2", style="mean"),
        linear(generator, "classifier", "pool", (3, 6), bias=bias),
    )
    return Blueprint("head", shape, steps)


@cache
def all_beats(folder):
    """Beats (99, 2, 256) of one patient, in millivolts, and whether each is premature."""
    with np.load(folder / "ecg" / "mitbih_100_beats.npz") as file:
        return file["x"].astype(np.float64), file["y"].astype(int)


@cache
def fitted_beat_network(folder):
    """The network whose linear head separates premature beats by least squares."""
    beats, premature = all_beats(folder)
    blueprint = beat_network()
    features = forward(blueprint, beats)["flat"]
    columns = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    wanted = np.stack([1 - premature, premature], axis=1) * 2.0 - 1
    solved = np.linalg.lstsq(columns, wanted, rcond=1e-6)[0].astype(np.float32).astype(np.float64)
    head = {"classifier.weight": solved[:-1].T, "classifier.bias": solved[-1]}
    return with_weights(blueprint, {**weights_of(blueprint), **head})


@cache
def head_volume(folder):
    """A T1-weighted head (1, 1, 57, 67, 56), from 0 to 1."""
    nibabel = pytest.importorskip("nibabel", reason="nibabel reads the volumes and is not installed")
    volume = np.asarray(nibabel.load(folder / "nifti" / "someones_anatomy.nii.gz").dataobj, dtype=np.float64)
    return (volume / volume.max())[None, None]


@pytest.fixture(params=["beats", "head"])
def case(request, shared):
    """A network and its real input (N, C, *space), float64."""
    return of_kind(request.param, shared / "data")


def of_kind(kind, folder, *, bias=True):
    if kind == "head":
        volume = head_volume(folder)
        return head_network(volume.shape[1:], bias=bias), volume
    beats, premature = all_beats(folder)
    chosen = np.concatenate(
        [np.flatnonzero(premature == 1)[: BEATS // 2], np.flatnonzero(premature == 0)[: BEATS // 2]]
    )
    return (fitted_beat_network(folder) if bias else beat_network(bias=False)), beats[chosen]


def explained(backend, case, **asked):
    blueprint, images = case
    return explain(backend.build(blueprint, dtype="float64"), images, **{"target": "all", **asked})


def logits(blueprint, images):
    return forward(blueprint, images)["classifier"]


def class_maps(blueprint, images):
    """Class activation maps (N, K, *cells): the features before the pool, weighed by the head."""
    return np.einsum("nc...,kc->nk...", forward(blueprint, images)["relu2"], blueprint.steps[-1].arrays["weight"])


def directional_derivative(function, images, direction):
    """Central difference quotient along one direction."""
    return (function(images + STEP * direction) - function(images - STEP * direction)) / (2 * STEP)


def over_space(array, axes):
    """Sum over all axes from `axes` on."""
    return array.reshape(*array.shape[:axes], -1).sum(axis=axes)


# ---- the networks and the data


def test_the_fitted_network_finds_premature_beats(shared):
    beats, premature = all_beats(shared / "data")
    found = logits(fitted_beat_network(shared / "data"), beats).argmax(axis=1)
    assert (found == premature).mean() > 0.95


@pytest.mark.parametrize("blueprint", [beat_network(length=41), head_network((1, 9, 12, 7))], ids=["beats", "head"])
def test_sums_over_offsets_are_what_the_dense_oracle_computes(blueprint):
    images = np.random.default_rng(1).normal(size=(2, *blueprint.input_shape))
    expected, found = oracle.forward(blueprint, images), forward(blueprint, images)
    for step in blueprint.steps:
        if step.operation != "global_average_pool":  # whose space axes of size 1 the oracle may keep
            assert_allclose(found[step.name], expected[step.name], rtol=0, atol=1e-12)


def test_scores_are_the_network_s(case, backend):
    found = explained(backend, case, method="gradient")
    expected = logits(*case)
    assert_allclose(found.scores, expected, rtol=0, atol=1e-12 * max(1, np.abs(expected).max()))


# ---- shapes and axes


@pytest.mark.parametrize("method", METHODS)
def test_maps_lie_in_the_space_of_the_input(method, case, backend):
    _, images = case
    found = explained(backend, case, method=method)
    assert found.maps.shape == (*found.scores.shape, *images.shape[2:])
    assert np.isfinite(found.maps).all()
    assert np.ptp(found.maps.reshape(*found.scores.shape, -1), axis=2).max(axis=1).min() > 0


def test_every_method_is_among_these():
    assert set(METHODS) <= set(methods())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_no_axis_of_a_volume_is_taken_for_another(axis, method, shared, backend):
    """Only a slab near one end of one axis is not empty: what the map says lies in it, along this axis and no other."""
    blueprint, volume = of_kind("head", shared / "data", bias=False)
    size = volume.shape[2 + axis]
    slab = [slice(None)] * 5
    slab[2 + axis] = slice(size - 10, size)
    only = np.zeros_like(volume)
    only[tuple(slab)] = volume.max() * np.random.default_rng(axis).uniform(0.5, 1, only[tuple(slab)].shape)
    maps = np.abs(explained(backend, (blueprint, only), method=method).maps[0]).astype(np.float64)
    ends = [np.moveaxis(maps, 1 + other, 1)[:, -15:].sum() / maps.sum() for other in range(3)]
    assert ends.pop(axis) > 0.9
    assert max(ends) < 0.35  # what an axis without the slab has at its end


# ---- identities


def test_the_mean_of_a_class_map_and_the_bias_are_the_logit(case, backend):
    found = explained(backend, case, method="cam")
    bias = case[0].steps[-1].arrays["bias"]
    means = found.attribution.reshape(*found.scores.shape, -1).mean(axis=2)
    expected = logits(*case)
    assert_allclose(means + bias, expected, rtol=0, atol=1e-12 * np.ptp(expected))
    assert_allclose(found.attribution, class_maps(*case), rtol=0, atol=1e-12 * np.ptp(class_maps(*case)))


def test_grad_cam_is_the_positive_part_of_a_class_map_per_cell(case, backend):
    found = explained(backend, case, method="grad_cam")
    expected = class_maps(*case)
    cells = expected[0, 0].size
    assert_allclose(found.attribution, np.maximum(expected, 0) / cells, rtol=0, atol=1e-7 * np.ptp(expected) / cells)


def test_the_gradient_is_the_directional_derivative_of_every_logit(case, backend):
    blueprint, images = case
    direction = np.random.default_rng(5).normal(size=images.shape)
    found = explained(backend, case, method="gradient")
    along = (found.attribution * direction[:, None]).reshape(*found.scores.shape, -1).sum(axis=2)
    expected = directional_derivative(lambda displaced: logits(blueprint, displaced), images, direction)
    assert_allclose(along, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_clear_is_the_directional_derivative_of_the_energy_of_every_class_map(case, backend):
    """Back-projecting a map is differentiating half the sum of its squares, where ReLU keeps its mask."""
    blueprint, images = case
    direction = np.random.default_rng(6).normal(size=images.shape)

    def energies(displaced):
        return over_space(class_maps(blueprint, displaced) ** 2, 2) / 2

    found = explained(backend, case, method="clear", psi="id")
    along = (found.attribution * direction[:, None]).reshape(*found.scores.shape, -1).sum(axis=2)
    expected = directional_derivative(energies, images, direction)
    assert_allclose(along, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["beats", "head"])
def test_relevance_is_conserved_without_biases(kind, shared, backend):
    case = of_kind(kind, shared / "data", bias=False)
    found = explained(backend, case, method="lrp", epsilon=1e-9)
    expected = logits(*case)
    sums = found.attribution.reshape(*found.scores.shape, -1).sum(axis=2)
    assert np.abs(expected).min() > 1e-3
    assert_allclose(sums, expected, rtol=1e-5)


def test_relevance_of_beats_is_the_oracle_s(shared, backend):
    blueprint, images = of_kind("beats", shared / "data")
    found = explained(backend, (blueprint, images), method="lrp")
    for k in range(2):
        expected = oracle.relevance(blueprint, images, target=k)
        assert_allclose(found.attribution[:, k], expected, rtol=0, atol=1e-9 * np.ptp(expected))


# ---- frameworks


@pytest.mark.parametrize("method", METHODS)
def test_frameworks_agree_on_real_signals_and_volumes(method, case):
    for framework in ("torch", "paddle"):
        pytest.importorskip(framework)
    first, second = (explained(get_backend(framework), case, method=method) for framework in ("torch", "paddle"))
    assert map_differences(first.attribution, second.attribution).max() < 1e-6
    assert map_differences(first.maps, second.maps).max() < 1e-6
