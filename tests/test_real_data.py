"""Trained models on real radiographs: the stated scores in every framework, and where the methods look."""

from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose
from parity import map_differences
from quick import CLASSIC

from examples.real import images as real_images
from examples.real import models as real_models
from xai_med import explain
from xai_med.registry import get_backend

CLASS_NAMES = ("normal", "pneumonia")


def area_under_curve(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of pairs of a positive and a negative that the scores order rightly; ties count half."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    order = np.sign(positive[:, None] - negative[None])
    return float((order + 1).mean() / 2)


def share_inside(maps: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Share of each map's positive part that lies in the region, both (N, *space); NaN for a map without one."""
    positive = np.maximum(maps.astype(np.float64), 0)
    space = tuple(range(1, maps.ndim))
    total = positive.sum(axis=space)
    inside = (positive * region).sum(axis=space)
    return np.where(total > 0, inside / np.where(total > 0, total, 1), np.nan)


@pytest.fixture(scope="session")
def data(shared):
    return shared / "data"


@pytest.fixture
def both():
    """The frameworks that are compared."""
    pytest.importorskip("PIL")
    for framework in ("torch", "paddle"):
        pytest.importorskip(framework)
    return "torch", "paddle"


@cache
def explanation_of_x_rays(framework, folder, method, dtype="float32"):
    images = real_images.chest_x_rays(folder)[0]
    model = get_backend(framework).build(real_models.pneumonia_resnet128(folder))
    return explain(model, images, method=method, target="all", dtype=dtype, class_names=CLASS_NAMES)


def test_pneumonia_mnist_scores_are_those_stated(data, backend):
    stated = real_models.statement(data, "pneumonia_vgg28")
    images, labels = real_images.pneumonia_mnist(data)
    found = explain(backend.build(real_models.pneumonia_vgg28(data)), images, method="cam", target="all")
    assert_allclose(found.scores[:8], stated["reference_logits"], atol=2e-5)
    margin = found.scores[:, 1] - found.scores[:, 0]
    assert_allclose(area_under_curve(margin, labels), stated["metrics"]["test"]["auc"], atol=1e-4)
    assert_allclose(((margin > 0) == labels).mean(), stated["metrics"]["test"]["accuracy"], atol=1e-4)


def test_chest_x_ray_scores_are_those_stated(data, backend):
    pytest.importorskip("PIL")
    stated = real_models.statement(data, "pneumonia_resnet128")
    labels = real_images.chest_x_rays(data)[1]
    found = explanation_of_x_rays(backend.name, data, "cam")
    assert_allclose(found.scores[[0, 1, 2, 20, 21, 22]], stated["reference_logits"], atol=2e-5)
    margin = found.scores[:, 1] - found.scores[:, 0]
    auc = stated["metrics"]["shared_data/cxr (40 images, unseen patients)"]["auc"]
    assert_allclose(area_under_curve(margin, labels), auc, atol=1e-4)


@pytest.mark.parametrize("method", CLASSIC)
def test_every_method_runs_on_chest_x_rays(method, data, backend):
    pytest.importorskip("PIL")
    found = explanation_of_x_rays(backend.name, data, method)
    assert found.maps.shape == (40, 2, 128, 128)
    assert np.isfinite(found.maps).all()
    assert np.ptp(found.maps, axis=(2, 3)).max(axis=1).min() > 0  # no image without any map
    assert found.targets[0] == CLASS_NAMES


@pytest.mark.parametrize("method", CLASSIC)
def test_frameworks_agree_on_chest_x_rays(method, both, data):
    """In float32 a ReLU input or two pool cells as good as equal decide otherwise in a few maps, in any framework."""
    first, second = (explanation_of_x_rays(framework, data, method) for framework in both)
    in_float32 = map_differences(first.attribution, second.attribution)
    assert np.median(in_float32) < 1e-6
    if method in ("cam", "grad_cam"):
        assert in_float32.max() < 1e-5
    assert (in_float32 > 1e-5).mean() < 0.15


@pytest.mark.parametrize("method", CLASSIC)
def test_frameworks_agree_in_float64_on_chest_x_rays(method, both, data):
    first, second = (explanation_of_x_rays(framework, data, method, dtype="float64") for framework in both)
    assert map_differences(first.attribution, second.attribution).max() < 1e-7


@pytest.mark.parametrize("method", ["gradient", "lrp", "clear"])
def test_frameworks_differ_no_more_than_the_widths_of_their_numbers(method, both, data):
    narrow, wide = (
        [explanation_of_x_rays(framework, data, method, dtype=dtype).attribution for framework in both]
        for dtype in ("float32", "float64")
    )
    between = map_differences(*narrow).max()
    rounding = max(map_differences(a, b).max() for a, b in zip(narrow, wide, strict=True))
    assert between < 3 * rounding


@pytest.mark.parametrize("method", ["grad_cam", "lrp"])
def test_evidence_of_pneumonia_lies_in_the_lungs_hardly_more_than_by_chance(method, data, backend):
    """What the model is known for (see the data's description); a method that said otherwise would invent it."""
    pytest.importorskip("PIL")
    _, labels, lungs = real_images.chest_x_rays(data)
    found = explanation_of_x_rays(backend.name, data, method)
    sick = labels == 1
    shares = share_inside(found.maps[sick, 1], lungs[sick])
    assert np.isfinite(shares).mean() > 0.8
    assert 0.25 < np.nanmean(shares) < 0.55
    assert 0.3 < lungs[sick].mean() < 0.36
