"""SmoothGrad, integrated and expected gradients: the oracle's gradients in loops, completeness, refusals, peers."""

import expectations
import numpy as np
import peers
import pytest
from numpy.testing import assert_allclose
from paper_networks import dense, explained, network, pointwise
from scipy import ndimage

from xai_med import Contrast, explain
from xai_med.baselines import baseline_images
from xai_med.errors import IdentityError, NonFiniteError, NotApplicableError, SettingError, ShapeError
from xai_med.registry import get_backend
from xai_med.testing import NETWORKS, check_method, example_input, oracle
from xai_med.testing.check_backend import relative
from xai_med.testing.network_layers import plain

NETWORK_NAMES = ["vgg_like", "resnet_like", "fully_connected_head", "signal", "volume"]
WITH_REFERENCES = {"expected_gradients": {"references": np.zeros((1, 3, 11, 9)), "samples": 4}}


def gradients(blueprint, images):
    """Of every logit, (N, K, C, *space), by the oracle."""
    start = oracle.logits_step(blueprint)
    logits = oracle.forward(blueprint, images)[start]
    found = []
    for k in range(logits.shape[1]):
        cotangent = np.zeros_like(logits)
        cotangent[:, k] = 1
        found.append(oracle.vector_jacobian(blueprint, images, of=start, cotangent=cotangent))
    return np.stack(found, axis=1)


def scores(blueprint, images):
    return oracle.forward(blueprint, images)[oracle.logits_step(blueprint)]


# ---- SmoothGrad


@pytest.mark.parametrize("name", NETWORK_NAMES)
@pytest.mark.parametrize("statistic", ["mean", "square", "variance"])
def test_smooth_grad_is_the_statistic_of_the_oracles_gradients_at_the_same_noise(statistic, name, backend):
    blueprint, images = NETWORKS[name](), expectations.images(name).astype(np.float64)
    found = explained(
        backend, blueprint, images, method="smooth_grad", samples=7, noise=0.2, seed=3, statistic=statistic
    )
    generator, samples = np.random.default_rng(3), []
    for _ in range(7):
        noise = generator.standard_normal(images.shape[1:])
        noisy = np.stack([image + 0.2 * np.ptp(image) * noise for image in images])
        samples.append(gradients(blueprint, noisy))
    expected = {
        "mean": np.mean(samples, axis=0),
        "square": np.mean(np.square(samples), axis=0),
        "variance": np.var(samples, axis=0),
    }[statistic]
    assert relative(found.attribution, expected) < 1e-11
    assert_allclose(found.maps, np.abs(expected).max(axis=2), rtol=0, atol=1e-6 * np.abs(expected).max())


def test_without_noise_smooth_grad_is_the_gradient(backend):
    images = expectations.images("vgg_like")
    found = explained(backend, NETWORKS["vgg_like"](), images, method="smooth_grad", samples=2, noise=0)
    assert relative(found.attribution, expectations.gradients("vgg_like")) < 1e-12
    assert found.check("standard_error").value < 1e-12


def test_the_standard_error_falls_as_the_root_of_the_number_of_samples(backend):
    images = expectations.images("vgg_like")
    few, many = (
        explained(backend, NETWORKS["vgg_like"](), images, method="smooth_grad", samples=samples, noise=0.05)
        for samples in (15, 240)
    )
    assert few.check("standard_error").value / many.check("standard_error").value == pytest.approx(4, rel=0.3)
    again = explained(
        backend, NETWORKS["vgg_like"](), images, method="smooth_grad", samples=240, noise=0.05, seed=9
    ).attribution
    axes = (2, 3, 4)
    apart = np.sqrt(((again - many.attribution) ** 2).sum(axis=axes) / (many.attribution**2).sum(axis=axes)).max()
    assert apart < 3 * many.check("standard_error").value


@pytest.mark.parametrize("of", ["grad_cam", "lrp", "cam", "guided_backprop"])
def test_noise_wraps_any_method(of, backend):
    images = expectations.images("vgg_like").astype(np.float64)
    found = explained(backend, NETWORKS["vgg_like"](), images, method="smooth_grad", of=of, samples=3, seed=1)
    generator, samples = np.random.default_rng(1), []
    for _ in range(3):
        noise = generator.standard_normal(images.shape[1:])
        noisy = np.stack([image + 0.15 * np.ptp(image) * noise for image in images])
        samples.append(explained(backend, NETWORKS["vgg_like"](), noisy, method=of).attribution)
    assert relative(found.attribution, np.mean(samples, axis=0)) < 1e-11
    assert found.layer == explained(backend, NETWORKS["vgg_like"](), images, method=of).layer


def test_noise_does_not_change_which_class_is_explained(backend):
    images = expectations.images("vgg_like")
    found = explained(
        backend, NETWORKS["vgg_like"](), images, method="smooth_grad", target="predicted", noise=5.0, samples=8
    )
    assert found.class_indices[:, 0].tolist() == expectations.logits("vgg_like").argmax(axis=1).tolist()
    every = explained(backend, NETWORKS["vgg_like"](), images, method="smooth_grad", noise=5.0, samples=8)
    chosen = np.take_along_axis(every.attribution, found.class_indices[:, :, None, None, None], axis=1)
    assert relative(found.attribution, chosen) < 1e-12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 0}, "samples is a number of noisy copies, at least 1, got 0"),
        ({"samples": 2.5}, "got 2.5"),
        ({"noise": -0.1}, "noise is a share of the image's range, at least 0"),
        ({"noise": np.inf}, "noise is a share"),
        ({"statistic": "median"}, "statistic='median' is unknown; choose one of mean, square, variance"),
        ({"read_out": "sum"}, "read_out='sum' is unknown"),
        ({"of": "smooth_grad"}, "'smooth_grad' asks others; choose of='gradient'"),
        ({"of": "lrp", "of_settings": {"epsilom": 1}}, "method 'lrp' has no setting 'epsilom'"),
    ],
)
def test_smooth_grad_refuses_settings_out_of_range(settings, message, backend):
    with pytest.raises(SettingError, match=message):
        explained(backend, NETWORKS["vgg_like"](), expectations.images("vgg_like"), method="smooth_grad", **settings)


# ---- integrated gradients


def test_worked_example_of_a_product(backend):
    """METHODS 3: x1 x2 at (2, 3) from 0: midpoints are exact, (3, 3). As a network: ((x1 + x2)² - (x1 - x2)²) / 4."""
    torch = pytest.importorskip("torch")

    class Product(torch.nn.Module):
        def forward(self, x):
            return (x[:, :1] * x[:, 1:]).flatten(1)

    if backend.name != "torch":
        pytest.skip("written in PyTorch")
    found = explain(Product(), np.array([[[[2.0]], [[3.0]]]]), method="integrated_gradients", target=0, dtype="float64")
    assert_allclose(found.attribution.ravel(), [3, 3], atol=1e-12)
    assert found.check("completeness").note == "20 steps"


@pytest.mark.parametrize(
    ("name", "baseline"),
    [("vgg_like", 0.0), ("vgg_like", "blur"), ("fully_connected_head", 0.7), ("signal", "mean"), ("volume", 0.0)],
)
def test_integrated_gradients_are_the_integral_of_the_oracles_gradients(baseline, name, backend):
    blueprint, images = NETWORKS[name](), expectations.images(name).astype(np.float64)
    start = baseline_images(images, baseline)
    found = explained(backend, blueprint, images, method="integrated_gradients", baseline=baseline)
    rise = scores(blueprint, images) - scores(blueprint, start)
    sums = found.attribution.reshape(*rise.shape, -1).sum(axis=2)
    size = np.maximum(np.abs(rise), np.abs(found.attribution).reshape(*rise.shape, -1).sum(axis=2) / 10)
    assert (np.abs(sums - rise) <= 1e-2 * size).all()
    fine = np.mean([gradients(blueprint, start + (i + 0.5) / 60 * (images - start)) for i in range(60)], axis=0)
    assert relative(found.attribution, fine * (images - start)[:, None]) < 0.1


def test_steps_are_tripled_only_where_they_must_be(backend):
    blueprint, images = NETWORKS["vgg_like"](), expectations.images("vgg_like").astype(np.float64)
    together = explained(backend, blueprint, images, method="integrated_gradients", steps=6)
    alone = [
        explained(backend, blueprint, images[n : n + 1], method="integrated_gradients", target=k, steps=6)
        for n in range(3)
        for k in range(3)
    ]
    assert len({one.check("completeness").note for one in alone}) > 1  # some need more than others
    apart = np.concatenate([one.attribution for one in alone]).reshape(together.attribution.shape)
    assert relative(together.attribution, apart) < 1e-12


def test_points_on_the_way_are_those_of_a_single_run_with_as_many_steps(backend):
    blueprint, images = NETWORKS["vgg_like"](), expectations.images("vgg_like").astype(np.float64)
    grown = explained(backend, blueprint, images, method="integrated_gradients", steps=4, tolerance=0.005, target=0)
    used = int(grown.check("completeness").note.split()[0])
    assert used > 4
    if len({used}) == 1:
        one = explained(
            backend, blueprint, images[:1], method="integrated_gradients", steps=4, tolerance=0.005, target=0
        )
        steps = int(one.check("completeness").note.split()[0])
        points = [gradients(blueprint, (i + 0.5) / steps * images[:1]) for i in range(steps)]
        expected = np.mean(points, axis=0)[:, :1] * images[:1, None]
        assert relative(one.attribution, expected) < 1e-11


def test_several_baselines_give_the_mean(backend):
    blueprint, images = NETWORKS["signal"](), expectations.images("signal")
    several = explained(
        backend, blueprint, images, method="integrated_gradients", baseline=[0.0, "mean", 1.0], tolerance=0.1
    )
    single = [
        explained(backend, blueprint, images, method="integrated_gradients", baseline=one, tolerance=0.1).attribution
        for one in (0.0, "mean", 1.0)
    ]
    assert relative(several.attribution, np.mean(single, axis=0)) < 1e-12


def test_what_does_not_become_complete_is_refused(backend):
    images = expectations.images("vgg_like")
    with pytest.raises(IdentityError, match=r"are not complete: after 6 steps .*raise most_steps"):
        explained(
            backend, NETWORKS["vgg_like"](), images, method="integrated_gradients", steps=2, most_steps=6,
            tolerance=1e-9,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"steps": 0}, SettingError, "numbers of at least 1, got 0"),
        ({"steps": 50, "most_steps": 10}, SettingError, "steps=50 is more than most_steps=10"),
        ({"tolerance": 0}, SettingError, "tolerance is a share between 0 and 1"),
        ({"baseline": "black"}, SettingError, "the baseline 'black' is unknown; give 'mean', 'blur'"),
        ({"baseline": []}, SettingError, "the list of baselines is empty"),
        ({"baseline": object()}, SettingError, "a baseline is a number, an array"),
        ({"baseline": np.zeros((5, 5))}, ShapeError, r"the baseline has shape \(5, 5\); give a number, 3 numbers"),
        ({"baseline": np.nan}, NonFiniteError, "the baseline holds NaN"),
    ],
)
def test_integrated_gradients_refuse_settings_out_of_range(settings, error, message, backend):
    images = expectations.images("vgg_like")
    with pytest.raises(error, match=message):
        explained(backend, NETWORKS["vgg_like"](), images, method="integrated_gradients", **settings)


@pytest.mark.parametrize("given", [(), (2,), (2, 4, 3), (5, 2, 4, 3)])
def test_baselines_of_every_shape(given, rng):
    images = rng.normal(size=(5, 2, 4, 3))
    values = rng.normal(size=given)
    expected = np.empty(images.shape)
    for place in np.ndindex(images.shape):
        n, c, i, j = place
        expected[place] = {0: values, 1: values[c] if given == (2,) else 0}.get(len(given), 0)
        expected[place] = (
            values[c, i, j] if len(given) == 3 else values[n, c, i, j] if len(given) == 4 else expected[place]
        )
    assert_allclose(baseline_images(images, values), expected)


def test_baselines_made_of_the_image(rng):
    images = rng.normal(size=(2, 3, 40, 20))
    means = baseline_images(images, "mean")
    assert_allclose(means[1, 2], images[1, 2].mean())
    blurred = baseline_images(images, "blur")
    assert_allclose(blurred[0, 1], ndimage.gaussian_filter(images[0, 1], (2, 1), mode="nearest"), atol=1e-12)


def test_captum_finds_the_same_integral():
    pytest.importorskip("captum")
    backend, images = get_backend("torch"), expectations.images("vgg_like").astype(np.float64)
    model = backend.build(NETWORKS["vgg_like"](), dtype="float64")
    theirs = peers.captum_at_input("IntegratedGradients", model, images, 3, n_steps=540, method="riemann_middle")
    ours = explain(model, images, method="integrated_gradients", steps=540, target="all", tolerance=0.5)
    assert relative(ours.attribution, theirs) < 1e-6  # their places on the way are float32


# ---- expected gradients


@pytest.mark.parametrize("name", ["vgg_like", "signal"])
def test_expected_gradients_are_the_mean_over_the_same_points_of_the_oracles(name, backend):
    blueprint, images = NETWORKS[name](), expectations.images(name).astype(np.float64)
    references = example_input(blueprint, 4, 9).astype(np.float64)
    found = explained(
        backend, blueprint, images, method="expected_gradients", references=references, samples=10, seed=2
    )
    generator = np.random.default_rng(2)
    shares = (generator.permutation(10) + generator.random(10)) / 10
    turns = np.concatenate([generator.permutation(4) for _ in range(3)])[:10]
    parts = [
        gradients(blueprint, references[r] + share * (images - references[r])) * (images - references[r])[:, None]
        for share, r in zip(shares, turns, strict=True)
    ]
    assert relative(found.attribution, np.mean(parts, axis=0)) < 1e-11


def test_expected_gradients_become_complete_with_samples(backend):
    blueprint, images = NETWORKS["vgg_like"](), expectations.images("vgg_like")
    references = example_input(blueprint, 5, 11)
    found = explained(backend, blueprint, images, method="expected_gradients", references=references, samples=600)
    rise = scores(blueprint, images) - scores(blueprint, references).mean(axis=0)
    sums = found.attribution.reshape(*rise.shape, -1).sum(axis=2)
    assert (np.abs(sums - rise) < 0.1 * np.abs(found.attribution).reshape(*rise.shape, -1).sum(axis=2)).all()
    assert found.check("completeness").value == pytest.approx(np.max(np.abs(sums - rise) / np.abs(rise)), rel=1e-6)


@pytest.mark.parametrize(
    ("references", "error", "message"),
    [
        (None, SettingError, "needs references="),
        (np.zeros((2, 3, 5, 5)), ShapeError, r"they must be \(M, C, \*space\)"),
        (np.zeros((0, 3, 11, 9)), ShapeError, "references have shape"),
        (np.zeros((2, 3, 11, 9), np.uint8), NonFiniteError, "finite floating-point images"),
        (np.full((2, 3, 11, 9), np.nan), NonFiniteError, "finite floating-point images"),
    ],
)
def test_references_that_cannot_be_used_are_refused(references, error, message, backend):
    images = expectations.images("vgg_like")
    with pytest.raises(error, match=message):
        explained(backend, NETWORKS["vgg_like"](), images, method="expected_gradients", references=references)


# ---- all three


@pytest.mark.parametrize("method", ["smooth_grad", "integrated_gradients"])
def test_contract_of_methods(method):
    settings = {"smooth_grad": {"samples": 3}, "integrated_gradients": {"steps": 5, "tolerance": 0.3}}[method]
    assert check_method(method, settings=settings).between_frameworks < 1e-12


def test_contract_of_expected_gradients():
    def references(blueprint):
        return {"references": example_input(blueprint, 3, 4), "samples": 5}

    assert check_method("expected_gradients", settings=references).between_frameworks < 1e-12


@pytest.mark.parametrize("method", ["smooth_grad", "integrated_gradients", "expected_gradients"])
def test_the_gradients_that_are_averaged_are_verified(method, backend):
    images = expectations.images("vgg_like")
    found = explained(
        backend, NETWORKS["vgg_like"](), images, method=method, verify=True, **WITH_REFERENCES.get(method, {})
    )
    assert found.check("difference_quotients").passed
    assert found.check("plain_forward").passed


@pytest.mark.parametrize("method", ["smooth_grad", "integrated_gradients", "expected_gradients"])
def test_a_contrast_is_the_difference_of_two_classes(method, backend):
    blueprint = network(pointwise("one", "input", np.eye(3)), plain("relu", "relu", "one"), *_head(), shape=(3, 11, 9))
    images, settings = example_input(blueprint), WITH_REFERENCES.get(method, {})
    both = explained(backend, blueprint, images, method=method, **settings).attribution
    difference = explained(backend, blueprint, images, method=method, target=Contrast(0, 1), **settings).attribution
    assert relative(difference[:, 0], both[:, 0] - both[:, 1]) < 2e-2 if method == "integrated_gradients" else 1e-12


@pytest.mark.parametrize("method", ["smooth_grad", "integrated_gradients", "expected_gradients"])
def test_no_graph_is_kept(method, backend):
    from xai_med import attribute

    blueprint = NETWORKS["vgg_like"]()
    with pytest.raises(NotApplicableError, match="keeps no graph of derivatives over its samples"):
        attribute(
            backend.build(blueprint), example_input(blueprint), method=method, target=0, differentiable=True,
            **WITH_REFERENCES.get(method, {}),
        )  # fmt: skip


@pytest.mark.parametrize("method", ["smooth_grad", "expected_gradients"])
def test_neither_the_input_nor_numpys_random_state_is_changed(method, backend):
    images = expectations.images("vgg_like").copy()
    before, state = images.copy(), np.random.get_state()[1].copy()
    explained(backend, NETWORKS["vgg_like"](), images, method=method, **WITH_REFERENCES.get(method, {}))
    assert (images == before).all()
    assert (np.random.get_state()[1] == state).all()


def _head():
    return (
        plain("pool", "global_average_pool", "relu", style="mean"),
        dense("head", "pool", [[1.0, 2.0, -1.0], [0.5, -1.0, 0.3]]),
    )
