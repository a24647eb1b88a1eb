"""Occlusion, RISE, LIME, KernelSHAP: brute force over the oracle, exact answers of linear models, peers, refusals."""

from itertools import combinations, product
from math import factorial

import expectations
import numpy as np
import peers
import pytest
from numpy.testing import assert_allclose
from paper_networks import explained

from xai_med import Probability, attribute, explain
from xai_med.coalitions import drawn_coalitions, shapley_values
from xai_med.errors import NonFiniteError, NotApplicableError, RegionError, SettingError, ShapeError
from xai_med.maps.resize import resize
from xai_med.registry import get_backend
from xai_med.superpixels import parts_of_images
from xai_med.testing import NETWORKS, check_method, example_input, oracle
from xai_med.testing.check_backend import relative

ALL = {
    "occlusion": {},
    "rise": {"masks": 20, "cells": 3},
    "lime": {"parts": "tiles", "count": 6, "samples": 30},
    "kernel_shap": {"parts": "tiles", "count": 6},
}
NETWORK_NAMES = ["vgg_like", "signal", "volume"]


def answer(name, images):
    return oracle.forward(NETWORKS[name](), images)[oracle.logits_step(NETWORKS[name]())]


def linear(shape, classes=3, seed=0):
    """A function that is linear in its pixels, and what each pixel adds to each class."""
    weights = np.random.default_rng(seed).normal(size=(classes, *shape))
    return (lambda images: np.einsum("ncij,kcij->nk", images, weights)), weights


# ---- occlusion


@pytest.mark.parametrize("name", NETWORK_NAMES)
@pytest.mark.parametrize(("patch", "stride", "fill"), [(2, 1, 0.0), (3, 2, 0.5), (None, None, 0.0)])
def test_occlusion_is_the_mean_fall_of_the_oracles_score_over_the_patches_of_a_pixel(
    name, patch, stride, fill, backend
):
    images = expectations.images(name).astype(np.float64)
    space, clean = images.shape[2:], expectations.logits(name)
    sizes = [patch or max(1, size // 8) for size in space]
    steps = [stride or max(1, size // 2) for size in sizes]
    starts = [[*range(0, n - s, t), n - s] for n, s, t in zip(space, sizes, steps, strict=True)]
    falls, counts = np.zeros((*clean.shape, *space)), np.zeros(space)
    for corner in product(*starts):
        window = tuple(slice(c, c + s) for c, s in zip(corner, sizes, strict=True))
        hidden = images.copy()
        hidden[(..., *window)] = fill
        fall = clean - answer(name, hidden)
        for place in product(*(range(w.start, w.stop) for w in window)):
            falls[(..., *place)] += fall
            counts[place] += 1
    settings = {} if patch is None else {"patch": patch, "stride": stride}
    found = explained(backend, NETWORKS[name](), images, method="occlusion", baseline=fill, **settings)
    assert relative(found.attribution, falls / counts) < 1e-11
    assert found.check("patches").value == np.prod([len(each) for each in starts])


def test_single_pixels_of_a_linear_model_get_what_they_add():
    model, weights = linear((2, 5, 4))
    images = np.random.default_rng(1).normal(size=(3, 2, 5, 4))
    found = explain(model, images, method="occlusion", patch=1, stride=1, target="all")
    assert_allclose(found.attribution, np.einsum("ncij,kcij->nkij", images, weights), atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch": 0}, "patch needs a size from 1 to"),
        ({"patch": 40}, r"patch needs a size from 1 to \(11, 9\)"),
        ({"patch": (2, 2, 2)}, r"patch needs a size .* got \(2, 2, 2\)"),
        ({"patch": 2, "stride": 3}, r"stride needs a size from 1 to \(2, 2\)"),
        ({"patch": 2.5}, "patch needs a size .* got 2.5"),
    ],
)
def test_occlusion_refuses_sizes_that_do_not_fit(settings, message, backend):
    with pytest.raises(SettingError, match=message):
        explained(backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method="occlusion", **settings)


def test_captums_occlusion_is_ours():
    pytest.importorskip("captum")
    backend, images = get_backend("torch"), expectations.images("vgg_like").astype(np.float64)
    model = backend.build(NETWORKS["vgg_like"](), dtype="float64")
    theirs = peers.captum_at_input(
        "Occlusion", model, images, 3, sliding_window_shapes=(3, 3, 3), strides=(3, 2, 2), baselines=0.3
    )
    ours = explain(model, images, method="occlusion", patch=3, stride=2, baseline=0.3, target="all")
    assert relative(ours.attribution, theirs[:, :, 0]) < 1e-6  # they add up in float32


# ---- RISE


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_rise_is_the_mean_of_masks_times_the_oracles_scores(name, centred, backend):
    images = expectations.images(name).astype(np.float64)
    space, generator, masks, scores = images.shape[2:], np.random.default_rng(4), [], []
    sizes = [-(-size // 2) for size in space]
    for _ in range(30):
        coarse = (generator.random((3,) * len(space)) < 0.4).astype(float)
        fine = resize(coarse, [3 * size for size in sizes])
        shift = [int(generator.integers(0, size)) for size in sizes]
        mask = fine[tuple(slice(s, s + n) for s, n in zip(shift, space, strict=True))]
        masks.append(mask)
        scores.append(answer(name, images * mask))
    weights = np.array(scores) - np.mean(scores, axis=0) * centred
    expected = np.einsum("mnk,m...->nk...", weights, np.array(masks)) / (30 * 0.4)
    found = explained(
        backend, NETWORKS[name](), images, method="rise", masks=30, cells=2, probability=0.4, seed=4, centred=centred
    )
    assert relative(found.attribution, expected) < 1e-10


def test_rise_of_a_linear_model_finds_the_pixels_that_count():
    weights = np.zeros((1, 1, 14, 14))
    weights[0, 0, 4:6, 8:10] = 1
    found = explain(
        lambda images: np.einsum("ncij,kcij->nk", images, weights), np.ones((1, 1, 14, 14)), method="rise",
        masks=3000, target=0,
    )  # fmt: skip
    peak = np.unravel_index(found.maps[0, 0].argmax(), (14, 14))
    assert 3 <= peak[0] <= 6
    assert 7 <= peak[1] <= 10
    assert 0 < found.check("standard_error").value < 0.6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"masks": 1}, "masks is a number of at least 2"),
        ({"cells": 0}, "cells is a number from 1 to the image's smallest size, 9"),
        ({"cells": 10}, "cells is a number from 1"),
        ({"probability": 1.0}, "probability is between 0 and 1"),
    ],
)
def test_rise_refuses_settings_out_of_range(settings, message, backend):
    with pytest.raises(SettingError, match=message):
        explained(backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method="rise", **settings)


# ---- LIME


def test_limes_coefficients_of_an_additive_model_are_what_the_parts_add():
    model, weights = linear((2, 6, 6))
    images = np.random.default_rng(1).normal(size=(2, 2, 6, 6))
    parts = np.arange(36).reshape(6, 6) // 7
    found = explain(model, images, method="lime", parts=parts, baseline=0.0, ridge=1e-9, samples=200, target="all")
    added = np.einsum("ncij,kcij->nkij", images, weights)
    for part in range(6):
        of_part = added[:, :, parts == part].sum(axis=2)
        assert_allclose(found.attribution[:, :, parts == part], of_part[:, :, None].repeat((parts == part).sum(), 2))
    assert found.check("unexplained").value < 1e-9
    assert (found.extras["parts"] == parts).all()


def test_limes_regression_is_that_of_scikit_learn(backend):
    linear_model = pytest.importorskip("sklearn.linear_model")
    images = expectations.images("vgg_like").astype(np.float64)[:1]
    parts = np.arange(99).reshape(11, 9) // 17
    found = explained(
        backend, NETWORKS["vgg_like"](), images, method="lime", parts=parts, samples=40, seed=5, ridge=0.3,
        kernel_width=0.4, baseline=0.0,
    )  # fmt: skip
    chosen = np.random.default_rng(5).integers(0, 2, size=(40, 6)).astype(float)
    chosen[0] = 1
    scores = np.concatenate([answer("vgg_like", images * row[parts]) for row in chosen])
    cosine = np.array([row.sum() / np.sqrt(max(row.sum(), 1e-9) * 6) for row in chosen])
    fit = linear_model.Ridge(alpha=0.3).fit(chosen, scores, sample_weight=np.exp(-((1 - cosine) ** 2) / 0.16))
    assert_allclose(found.attribution[0], fit.coef_[:, parts], atol=1e-9)


# ---- Shapley values


def shapley(value, players):
    """By the definition: over all coalitions of the others."""
    found = []
    for player in range(players):
        others, total = [p for p in range(players) if p != player], 0.0
        for size in range(players):
            for coalition in combinations(others, size):
                weight = factorial(size) * factorial(players - size - 1) / factorial(players)
                total = total + weight * (value({*coalition, player}) - value(set(coalition)))
        found.append(total)
    return np.array(found)


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_kernel_shap_over_all_coalitions_is_shapleys_definition(name, backend):
    images = expectations.images(name).astype(np.float64)[:1]
    space = images.shape[2:]
    parts = (np.arange(np.prod(space)) * 5 // np.prod(space)).reshape(space)

    def value(coalition):
        kept = np.isin(parts, list(coalition)).astype(float)
        return answer(name, images * kept + 0.2 * (1 - kept))[0]

    found = explained(backend, NETWORKS[name](), images, method="kernel_shap", parts=parts, baseline=0.2)
    for player, expected in enumerate(shapley(value, 5)):
        assert_allclose(found.attribution[0][:, parts == player].sum(axis=1), expected, atol=1e-9)
    assert found.check("completeness").value < 1e-9
    assert found.check("completeness").note == "every coalition was asked: exact"


def test_drawn_coalitions_come_near_to_all_of_them(rng):
    table = rng.normal(size=2**8)

    def value(row):
        return table[int("".join(str(int(v)) for v in row), 2)] + row.sum()

    every, drawn = drawn_coalitions(8, 10_000, 0), drawn_coalitions(8, 200, 0)
    ends = np.array([value(np.zeros(8))]), np.array([value(np.ones(8))])
    exact, near = (
        shapley_values(each, np.array([[value(row)] for row in each.kept]), *ends) for each in (every, drawn)
    )
    assert every.is_complete
    assert not drawn.is_complete
    assert np.abs(exact - near).max() < 0.4 * np.ptp(exact) + 0.2
    assert_allclose(near.sum(), ends[1] - ends[0])


def test_an_additive_model_is_shared_exactly_whatever_was_drawn():
    model, weights = linear((1, 8, 8))
    images = np.random.default_rng(2).normal(size=(2, 1, 8, 8))
    found = explain(model, images, method="kernel_shap", parts="tiles", count=16, samples=200, target="all")
    added = np.einsum("ncij,kcij->nkij", images, weights)
    parts = found.extras["parts"]
    for n, part in product(range(2), range(parts[0].max() + 1)):
        chosen = parts[n] == part
        assert_allclose(found.attribution[n][:, chosen].sum(axis=1), added[n][:, chosen].sum(axis=1), atol=1e-9)


def test_captums_kernel_shap_comes_near_to_ours():
    pytest.importorskip("captum")
    torch = pytest.importorskip("torch")
    backend, images = get_backend("torch"), expectations.images("vgg_like").astype(np.float64)[:1]
    model = backend.build(NETWORKS["vgg_like"](), dtype="float64")
    parts = np.arange(99).reshape(11, 9) // 25
    ours = explain(model, images, method="kernel_shap", parts=parts, target="all").attribution
    torch.manual_seed(0)
    theirs = peers.captum_at_input(
        "KernelShap", model, images, 3, feature_mask=torch.tensor(parts)[None, None], n_samples=400
    )[:, :, 0]
    for part in range(4):
        total = ours[0][:, parts == part].sum(axis=1)
        assert_allclose(total, theirs[0][:, parts == part][:, 0], atol=0.05 * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"samples": 3}, SettingError, "samples is a number of coalitions, at least 4"),
        ({"count": 40, "samples": 20}, SettingError, "20 samples cannot tell"),
        ({"count": 1}, SettingError, "the number of parts must be at least 2"),
        ({"parts": "squares"}, SettingError, "parts='squares' is unknown; give 'slic', 'tiles'"),
        ({"parts": np.zeros((4, 4), int)}, ShapeError, r"parts are integers of shape \(11, 9\)"),
        ({"parts": np.zeros((11, 9))}, ShapeError, "got float64"),
        ({"parts": np.zeros((11, 9), int)}, RegionError, "image 0 has one part only"),
    ],
)
def test_kernel_shap_refuses_what_cannot_be_shared(settings, error, message, backend):
    settings = {"parts": "tiles", **settings}
    with pytest.raises(error, match=message):
        explained(backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method="kernel_shap", **settings)


# ---- parts


@pytest.mark.parametrize("shape", [(40,), (24, 30), (8, 10, 12)])
@pytest.mark.parametrize("parts", ["slic", "tiles"])
def test_parts_are_numbered_without_gaps_and_are_about_as_many_as_asked(parts, shape, rng):
    pytest.importorskip("skimage")
    images = rng.normal(size=(2, 1, *shape)).cumsum(axis=-1)
    found = parts_of_images(images, parts, 12)
    for each in found:
        assert sorted(np.unique(each)) == list(range(each.max() + 1))
        assert 3 <= each.max() + 1 <= 24


def test_superpixels_follow_edges():
    pytest.importorskip("skimage")
    image = np.zeros((1, 1, 32, 32))
    image[..., 13:] = 1
    labels = parts_of_images(image, "slic", 16)[0]
    assert not set(labels[:, :13].ravel()) & set(labels[:, 13:].ravel())


# ---- all four


@pytest.mark.parametrize("method", ALL)
def test_contract_of_methods(method):
    assert check_method(method, settings=ALL[method]).between_frameworks < 1e-10


@pytest.mark.parametrize("method", ALL)
def test_a_function_is_explained_as_the_network_behind_it(method, backend):
    images = expectations.images("vgg_like").astype(np.float64)
    model = backend.build(NETWORKS["vgg_like"](), dtype="float64")
    seen = explain(model, images, method=method, target="all", **ALL[method])
    asked = explain(
        lambda x: backend.tensors.to_numpy(model(backend.tensor(x))), images, method=method, target="all", **ALL[method]
    )
    assert relative(asked.attribution, seen.attribution) < 1e-12
    assert asked.backend == "callable"


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
@pytest.mark.parametrize("method", ALL)
def test_how_many_are_asked_at_once_changes_nothing(method, batch_size, backend):
    images = expectations.images("vgg_like").astype(np.float64)
    known = explained(backend, NETWORKS["vgg_like"](), images, method=method, **ALL[method])
    found = explained(backend, NETWORKS["vgg_like"](), images, method=method, batch_size=batch_size, **ALL[method])
    assert relative(found.attribution, known.attribution) < 1e-12


@pytest.mark.parametrize("method", ALL)
def test_the_class_of_the_clean_image_is_explained(method, backend):
    images = expectations.images("vgg_like")
    found = explained(backend, NETWORKS["vgg_like"](), images, method=method, target="predicted", **ALL[method])
    every = explained(backend, NETWORKS["vgg_like"](), images, method=method, **ALL[method])
    chosen = np.take_along_axis(every.attribution, found.class_indices[:, :, None, None], axis=1)
    assert relative(found.attribution, chosen) < 1e-12


@pytest.mark.parametrize("method", ALL)
def test_probabilities_can_be_asked_for(method, backend):
    images = expectations.images("softmax_output")
    found = explained(
        backend, NETWORKS["softmax_output"](), images, method=method, target=Probability(0), **ALL[method]
    )
    assert ((found.scores > 0) & (found.scores < 1)).all()


@pytest.mark.parametrize("method", ALL)
def test_double_precision_finds_nothing_wrong(method, backend):
    images = expectations.images("vgg_like")
    found = explained(backend, NETWORKS["vgg_like"](), images, method=method, verify=True, **ALL[method])
    assert found.check("recomputed").passed


@pytest.mark.parametrize("method", ALL)
def test_what_makes_no_sense_is_refused(method, backend):
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint)
    with pytest.raises(SettingError, match=f"{method} is taken at the input and has no layer"):
        explained(backend, blueprint, images, method=method, layer="conv1", **ALL[method])
    with pytest.raises(SettingError, match="batch_size is a number of images"):
        explained(backend, blueprint, images, method=method, batch_size=0, **ALL[method])
    with pytest.raises(NonFiniteError, match="the baseline holds NaN"):
        explained(backend, blueprint, images, method=method, baseline=np.nan, **ALL[method])
    with pytest.raises(NotApplicableError, match="answers to changed images have no derivative"):
        attribute(backend.build(blueprint), images, method=method, target=0, differentiable=True, **ALL[method])


@pytest.mark.parametrize("method", ["rise", "lime", "kernel_shap"])
def test_numpys_own_random_state_is_left_alone(method, backend):
    state = np.random.get_state()[1].copy()
    explained(backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method=method, **ALL[method])
    assert (np.random.get_state()[1] == state).all()


def test_a_progress_bar_is_shown_where_it_is_asked_for(capsys, backend):
    pytest.importorskip("tqdm")
    images = expectations.images("vgg_like")
    explained(backend, NETWORKS["vgg_like"](), images, method="rise", masks=4, cells=2)
    assert "rise" not in capsys.readouterr().err
    explained(backend, NETWORKS["vgg_like"](), images, method="rise", masks=4, cells=2, progress=True)
    assert "rise: 100%" in capsys.readouterr().err
