"""How alike maps are: slow oracles, scikit-image, sanity curves, repeated maps, noise, and lost weights."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xai_med.errors import LayerError, NonFiniteError, SettingError, ShapeError
from xai_med.metrics import (
    layers_top_down,
    max_sensitivity,
    random_pairs,
    randomised_weights,
    repeatability,
    sanity_curve,
    similarity,
)

SPACES = {"signal": (40,), "image": (14, 17), "volume": (11, 12, 13)}


def pair(space, seed=0, ties=False):
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(2, *space))
    return (np.round(first), np.round(first + second)) if ties else (first, first + second)


# similarity


def slow_ranks(values):
    """How many are smaller, and half of those that are equal."""
    return [sum(a < b for a in values) + sum(a == b for a in values) / 2 for b in values]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), ties=st.booleans())
def test_spearman_is_the_correlation_of_counted_ranks(seed, ties):
    first, second = pair((4, 6), seed, ties)
    for kind, change in (("spearman", lambda x: x), ("spearman_abs", np.abs)):
        a, b = (np.array(slow_ranks(change(each).ravel().tolist())) for each in (first, second))
        a, b = a - a.mean(), b - b.mean()
        by_hand = (a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum())
        assert similarity(first, second, kind=kind) == pytest.approx(by_hand)


def slow_ssim(first, second):
    """Equation 13 of Wang et al. in each window of 11 pixels a side, by sums over its pixels."""
    x, y = ((each - each.min()) / (each.max() - each.min()) for each in (first, second))
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = line
    for _ in range(x.ndim - 1):
        weights = np.multiply.outer(weights, line)
    weights = weights / weights.sum()
    found = []
    for corner in itertools.product(*(range(size - 10) for size in x.shape)):
        window = tuple(slice(at, at + 11) for at in corner)
        a, b = x[window], y[window]
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
        cov = (weights * (a - mean_a) * (b - mean_b)).sum()
        found.append(
            (2 * mean_a * mean_b + 1e-4) * (2 * cov + 9e-4) / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4))
        )
    return np.mean(found)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_ssim_is_that_of_each_window(space):
    first, second = pair(space)
    assert similarity(first, second, kind="ssim") == pytest.approx(slow_ssim(first, second))
    assert similarity(5 * first - 2, second / 3, kind="ssim") == pytest.approx(slow_ssim(first, second))


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_ssim_is_that_of_scikit_image(space):
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    x, y = ((each - each.min()) / np.ptp(each) for each in pair(space))
    theirs = metrics.structural_similarity(
        x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
    )
    assert similarity(x, y, kind="ssim") == pytest.approx(theirs, rel=1e-9)


def test_hog_is_the_rank_correlation_of_the_histograms_of_scikit_image():
    feature = pytest.importorskip("skimage.feature", reason="scikit-image is not installed")
    stats = pytest.importorskip("scipy.stats")
    first, second = pair((64, 80))
    described = [feature.hog((each - each.min()) / np.ptp(each), pixels_per_cell=(16, 16)) for each in (first, second)]
    theirs = stats.spearmanr(*described)[0]
    assert similarity(first, second, kind="hog") == pytest.approx(theirs)
    assert abs(theirs) < 0.9


@pytest.mark.parametrize("kind", ["spearman", "spearman_abs", "ssim", "hog"])
def test_a_map_is_like_itself_and_unlike_nothing(kind):
    pytest.importorskip("skimage.feature", reason="scikit-image is not installed")
    first, second = pair((48, 50))
    assert similarity(first, first, kind=kind) == pytest.approx(1)
    assert similarity(first, 3 * first, kind=kind) == pytest.approx(1)
    assert similarity(first, second, kind=kind) == pytest.approx(similarity(second, first, kind=kind))
    assert math.isnan(similarity(first, np.full_like(first, 2.0), kind=kind))


def test_only_signed_ranks_tell_a_map_from_its_negative():
    first, _ = pair((14, 17))
    assert similarity(first, -first, kind="spearman") == pytest.approx(-1)
    assert similarity(first, -first, kind="spearman_abs") == pytest.approx(1)


def test_maps_that_cannot_be_compared_are_refused():
    first, second = pair((14, 17))
    with pytest.raises(ShapeError, match="at least 11 pixels along each axis"):
        similarity(first[:10], second[:10], kind="ssim")
    with pytest.raises(ShapeError, match="at least 48 pixels a side"):
        similarity(first, second, kind="hog")
    with pytest.raises(ShapeError, match="at least 48 pixels a side"):
        similarity(*pair((48, 48, 48)), kind="hog")
    with pytest.raises(ShapeError, match="differ in shape"):
        similarity(first, second.T, kind="spearman")
    with pytest.raises(ShapeError, match="one to three space axes"):
        similarity(first[None, None], second[None, None], kind="spearman")
    with pytest.raises(SettingError, match="kind is one of spearman, spearman_abs, ssim, hog"):
        similarity(first, second, kind="pearson")
    with pytest.raises(NonFiniteError, match="NaN"):
        similarity(first * np.nan, second, kind="spearman")


def test_random_pairs_are_different_pairs_of_different_maps():
    maps = list(np.random.default_rng(0).normal(size=(12, 30)))
    every = sorted(similarity(a, b, kind="spearman") for a, b in itertools.combinations(maps, 2))
    assert sorted(random_pairs(maps, kind="spearman", pairs=100)) == pytest.approx(every)
    some = random_pairs(maps, kind="spearman", pairs=20, seed=1)
    assert len(set(some.tolist())) == 20
    assert all(min(abs(each - other) for other in every) < 1e-12 for each in some)
    np.testing.assert_array_equal(some, random_pairs(maps, kind="spearman", pairs=20, seed=1))
    assert (some != random_pairs(maps, kind="spearman", pairs=20, seed=2)).any()
    with pytest.raises(SettingError, match="at least two images"):
        random_pairs(maps[:1], kind="spearman")


# the sanity check


def blobs(*centres):
    """A map with one Gaussian spot for each centre."""
    places = np.indices((20, 20))
    return sum(np.exp(-((places[0] - y) ** 2 + (places[1] - x) ** 2) / 18) for y, x in centres)


OTHERS = [blobs((7, 7)), blobs((7, 13)), blobs((13, 8)), blobs((12, 12)), blobs((10, 5))]
NOISE = np.random.default_rng(0).normal(size=(3, 20, 20))


def test_a_map_that_follows_the_weights_passes():
    trained = blobs((9, 9))
    found = sanity_curve(trained, [trained + 0.2 * NOISE[0], NOISE[1]], stages=["fc", "conv"], others=OTHERS)
    assert found.similarities[0] == pytest.approx(similarity(trained, trained + 0.2 * NOISE[0], kind="ssim"))
    assert found.similarities[1] == pytest.approx(similarity(trained, NOISE[1], kind="ssim"))
    assert found.threshold == pytest.approx(
        np.mean([similarity(a, b, kind="ssim") for a, b in itertools.combinations(OTHERS, 2)])
    )
    assert (found.kind, found.randomisation, found.stages) == ("ssim", "cascading", ("fc", "conv"))
    assert found.below[-1]
    assert found.verdict == "passed"


def test_the_threshold_is_the_mean_over_pairs_and_of_magnitudes_where_signs_are_ranked():
    signed = [each if index % 2 else -each for index, each in enumerate(OTHERS)]
    for kind, change in (("spearman", np.abs), ("ssim", np.array), ("spearman_abs", np.array)):
        pairs = [similarity(a, b, kind=kind) for a, b in itertools.combinations(signed, 2)]
        found = sanity_curve(blobs((9, 9)), NOISE[:1], stages=["fc"], others=signed, kind=kind)
        np.testing.assert_allclose(found.baseline, pairs)
        assert found.threshold == pytest.approx(np.mean(change(pairs)))


def test_a_map_that_draws_edges_whatever_the_weights_are_fails():
    trained = blobs((9, 9))
    for kind in ("ssim", "spearman", "spearman_abs"):
        found = sanity_curve(
            trained, [NOISE[0], trained + 1e-3 * NOISE[1]], stages=["fc", "conv"], others=OTHERS, kind=kind
        )
        assert found.below == (True, False)
        assert found.verdict == "failed"


def test_a_map_turned_into_its_negative_has_kept_what_it_showed():
    trained = blobs((9, 9)) - 0.3
    found = sanity_curve(trained, [-trained], stages=["all"], others=OTHERS, kind="spearman")
    assert found.similarities[0] == pytest.approx(-1)
    assert found.verdict == "failed"


def test_cascades_are_judged_by_their_end_and_independent_losses_by_each():
    trained = blobs((9, 9))
    maps = {"stages": ["fc", "conv"], "others": OTHERS, "kind": "spearman"}
    kept_then_lost = [trained + 1e-3 * NOISE[0], NOISE[1]]
    assert sanity_curve(trained, kept_then_lost, **maps).verdict == "passed"
    assert sanity_curve(trained, kept_then_lost, randomisation="independent", **maps).verdict == "failed"
    assert sanity_curve(trained, [NOISE[0], NOISE[1]], randomisation="independent", **maps).verdict == "passed"


def test_a_stage_without_a_map_is_undefined_unless_another_fails():
    trained, empty = blobs((9, 9)), np.zeros((20, 20))
    maps = {"stages": ["fc", "conv"], "others": OTHERS, "kind": "spearman"}
    found = sanity_curve(trained, [NOISE[0], empty], **maps)
    assert math.isnan(found.similarities[1])
    assert found.below == (True, False)
    assert found.verdict == "undefined"
    assert sanity_curve(trained, [empty, NOISE[0]], **maps).verdict == "passed"
    assert sanity_curve(trained, [empty, NOISE[0]], randomisation="independent", **maps).verdict == "undefined"
    assert sanity_curve(trained, [empty, trained], randomisation="independent", **maps).verdict == "failed"


def test_checks_without_anything_to_compare_are_refused():
    trained = blobs((9, 9))
    with pytest.raises(SettingError, match="2 maps of models with lost weights came with the stages"):
        sanity_curve(trained, NOISE[:2], stages=["fc"], others=OTHERS)
    with pytest.raises(SettingError, match="0 maps"):
        sanity_curve(trained, [], stages=[], others=OTHERS)
    with pytest.raises(SettingError, match="2 maps"):
        sanity_curve(trained, NOISE[:2], stages="fc", others=OTHERS)
    with pytest.raises(SettingError, match="nothing that could be lost"):
        sanity_curve(trained * 0, NOISE[:1], stages=["fc"], others=OTHERS)
    with pytest.raises(SettingError, match="no random pair"):
        sanity_curve(trained, NOISE[:1], stages=["fc"], others=[np.zeros((20, 20))] * 3)
    with pytest.raises(SettingError, match="randomisation is one of cascading, independent"):
        sanity_curve(trained, NOISE[:1], stages=["fc"], others=OTHERS, randomisation="labels")


# repeated maps


def test_repeated_maps_are_compared_pair_by_pair_and_with_random_pairs():
    maps = [blobs((9, 9)) + 0.1 * noise for noise in NOISE]
    found = repeatability(maps, others=OTHERS)
    assert list(found) == ["ssim", "spearman"]
    for kind, each in found.items():
        assert each.pairs == ((0, 1), (0, 2), (1, 2))
        by_hand = [similarity(maps[a], maps[b], kind=kind) for a, b in each.pairs]
        np.testing.assert_allclose(each.similarities, by_hand)
        assert each.mean == pytest.approx(np.mean(by_hand))
        assert each.baseline_mean == pytest.approx(np.mean(random_pairs(OTHERS, kind=kind)))
    assert found["spearman"].mean > found["spearman"].baseline_mean


def test_empty_maps_do_not_count_as_agreement():
    found = repeatability([np.zeros((20, 20)), np.zeros((20, 20))], others=OTHERS)["ssim"]
    assert math.isnan(found.mean)
    with pytest.raises(SettingError, match="at least two maps"):
        repeatability([np.zeros((20, 20))], others=OTHERS)
    with pytest.raises(SettingError, match="kind is one of"):
        repeatability(NOISE, others=OTHERS, kinds=["mean"])


# noise


@pytest.mark.parametrize("space", [(9,), (4, 5), (2, 3, 4)])
def test_the_largest_change_is_the_largest_of_a_loop(space):
    image = np.random.default_rng(0).normal(size=(2, *space)).astype(np.float32)
    seen = []

    def explain_map(pixels):
        seen.append(pixels.copy())
        return np.sin(3 * pixels).sum(axis=0)

    found = max_sensitivity(explain_map, image, radius=0.1, samples=7, seed=2)
    assert len(seen) == 8
    assert all(each.dtype == image.dtype for each in seen)
    np.testing.assert_array_equal(seen[0], image)
    changes = np.array([each - image for each in seen[1:]])
    assert -0.1 - 1e-6 <= changes.min() < -0.05
    assert 0.05 < changes.max() <= 0.1 + 1e-6
    maps = [np.sin(3 * each).sum(axis=0) for each in seen]
    changes = [math.sqrt(((each - maps[0]) ** 2).sum()) for each in maps[1:]]
    assert found.absolute == pytest.approx(max(changes))
    assert found.relative == pytest.approx(max(changes) / math.sqrt((maps[0] ** 2).sum()))
    assert found == max_sensitivity(explain_map, image, radius=0.1, samples=7, seed=2)
    assert found != max_sensitivity(explain_map, image, radius=0.1, samples=7, seed=3)


def test_a_gradient_that_is_everywhere_the_same_is_not_sensitive():
    image = np.ones((1, 5))
    steady = max_sensitivity(lambda pixels: np.arange(5.0), image, radius=1)
    assert (steady.absolute, steady.relative) == (0, 0)
    empty = max_sensitivity(lambda pixels: np.zeros(5), image, radius=1)
    assert empty.absolute == 0
    assert math.isnan(empty.relative)


def test_explanations_that_are_no_maps_are_refused():
    image = np.ones((2, 5))
    with pytest.raises(ShapeError, match=r"explain_map returned shape \(3,\)"):
        max_sensitivity(lambda pixels: np.zeros(3), image, radius=1)
    turns = iter([np.zeros(5), np.zeros((2, 5))])
    with pytest.raises(ShapeError, match=r"shape \(5,\), then one of \(2, 5\)"):
        max_sensitivity(lambda pixels: next(turns), image, radius=1)
    with pytest.raises(SettingError, match="radius is a finite number above 0"):
        max_sensitivity(lambda pixels: pixels, image, radius=0)
    with pytest.raises(NonFiniteError, match="the map"):
        max_sensitivity(lambda pixels: pixels * np.nan, image, radius=1)


def test_an_explainer_that_writes_to_its_image_changes_nothing():
    image = np.ones((1, 5))

    def greedy(pixels):
        pixels *= 0
        return pixels

    assert max_sensitivity(greedy, image, radius=1).absolute == 0
    assert (image == 1).all()


# lost weights


def state():
    random = np.random.default_rng(0)
    return {
        "conv.weight": random.normal(0.3, 2, size=(20, 30, 3, 3)).astype(np.float32),
        "conv.bias": random.normal(size=50),
        "norm.weight": np.ones(40, dtype=np.float32),
        "norm.running_var": random.gamma(2, 3, size=4000).astype(np.float16),
        "norm.num_batches_tracked": np.array(17),
        "fc.weight": random.normal(size=(3, 4)),
    }


def test_lost_weights_keep_mean_spread_type_and_positive_variances():
    arrays = state()
    found = randomised_weights(arrays, ["conv.weight", "norm.running_var"], seed=1)
    assert found.redrawn == ("conv.weight", "norm.running_var")
    assert list(found.arrays) == list(arrays)
    for name in found.redrawn:
        before, after = arrays[name].astype(float), found.arrays[name].astype(float)
        assert found.arrays[name].dtype == arrays[name].dtype
        assert after.shape == before.shape
        assert after.mean() == pytest.approx(before.mean(), abs=4 * before.std() / math.sqrt(before.size))
        assert after.std() == pytest.approx(before.std(), rel=0.1)
        assert abs(np.corrcoef(before.ravel(), after.ravel())[0, 1]) < 0.07
    assert (found.arrays["norm.running_var"] >= 0).all()
    assert found.arrays["conv.bias"] is arrays["conv.bias"]
    for name, array in state().items():
        np.testing.assert_array_equal(arrays[name], array)
    with pytest.raises(TypeError):
        found.arrays["conv.bias"] = 0


def test_what_holds_nothing_to_lose_is_listed():
    names = ["norm.weight", "norm.num_batches_tracked", "fc.weight"]
    found = randomised_weights(state(), names, seed=0)
    assert found.unchanged == ("norm.weight", "norm.num_batches_tracked")
    assert found.redrawn == ("fc.weight",)
    assert found.arrays["norm.num_batches_tracked"] == 17


def test_a_cascade_loses_the_same_weights_again():
    first = randomised_weights(state(), ["fc.weight"], seed=3).arrays
    second = randomised_weights(state(), ["conv.weight", "fc.weight"], seed=3).arrays
    np.testing.assert_array_equal(first["fc.weight"], second["fc.weight"])
    assert (first["conv.weight"] != second["conv.weight"]).any()
    assert (first["fc.weight"] != randomised_weights(state(), ["fc.weight"], seed=4).arrays["fc.weight"]).any()


def test_arrays_that_look_alike_do_not_get_the_same_values():
    twin = np.random.default_rng(0).normal(size=6)
    found = randomised_weights({"a.weight": twin, "b.weight": twin}, ["a.weight", "b.weight"], seed=0).arrays
    assert (found["a.weight"] != found["b.weight"]).all()


def test_weights_that_cannot_be_lost_are_refused():
    with pytest.raises(LayerError, match=r"'fc\.bias' is not among the 6 arrays"):
        randomised_weights(state(), ["fc.bias"], seed=0)
    for names in ([], "fc.weight", ["fc.weight", "fc.weight"]):
        with pytest.raises(SettingError, match="lists each array once"):
            randomised_weights(state(), names, seed=0)
    with pytest.raises(NonFiniteError, match=r"'w' holds values"):
        randomised_weights({"w": np.array([1.0, np.inf])}, ["w"], seed=0)
    with pytest.raises(SettingError, match="seed"):
        randomised_weights(state(), ["fc.weight"], seed=-1)


def test_layers_come_from_the_top_down():
    assert layers_top_down(list(state())) == {
        "fc": ("fc.weight",),
        "norm": ("norm.weight", "norm.running_var", "norm.num_batches_tracked"),
        "conv": ("conv.weight", "conv.bias"),
    }
    assert list(layers_top_down(list(state()))) == ["fc", "norm", "conv"]
    assert layers_top_down(["scale", "block.0.conv.weight"]) == {
        "block.0.conv": ("block.0.conv.weight",),
        "": ("scale",),
    }
