"""Our metrics beside those of captum, pytorch-grad-cam and Quantus: equal where the conventions are, else named.

Conventions were read from the peers' sources: captum 0.9, grad-cam 1.5, Quantus 0.6.
"""

import importlib
import warnings

import numpy as np
import peers
import pytest
from answers import recorded
from scipy.sparse.linalg import spsolve
from zoo.stubs import define_torchvision_operators

from xai_med.metrics import (
    GaussianNoise,
    RemovedSquare,
    completeness,
    complexity,
    deletion,
    infidelity,
    linear_imputation,
    max_sensitivity,
    road,
    sparseness,
)

torch = pytest.importorskip("torch", reason="torch is not installed")

CHOSEN = 1
IMAGE = np.random.default_rng(0).normal(size=(1, 12, 16)).astype(np.float32)
MAP = np.random.default_rng(1).normal(size=(12, 16)).astype(np.float32)


@pytest.fixture
def model():
    torch.manual_seed(0)
    layers = torch.nn
    network = layers.Sequential(
        layers.Conv2d(1, 6, 3, padding=1),
        layers.Tanh(),
        layers.AdaptiveAvgPool2d(2),
        layers.Flatten(),
        layers.Linear(24, 3),
    )
    return network.eval()


@pytest.fixture
def answer(model):
    def scores(images):
        with torch.no_grad():
            return model(torch.from_numpy(np.ascontiguousarray(images)))[:, CHOSEN].double().numpy()

    return scores


@pytest.fixture
def quantus():
    define_torchvision_operators()
    return pytest.importorskip("quantus", reason="Quantus is not installed")


def judged(metric, model, image=IMAGE, values=MAP, **settings):
    """What a metric of Quantus says of one image and one map of (H, W), or attribution (1, H, W)."""
    attribution = np.array(values, dtype=np.float64).reshape(1, 1, *values.shape[-2:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on settings, some on every call
        return metric(
            model=model,
            x_batch=np.array(image[None]),
            y_batch=np.array([CHOSEN]),
            a_batch=attribution,
            channel_first=True,
            softmax=False,
            device="cpu",
            **settings,
        )


PLAIN = {"normalise": False, "abs": False, "disable_warnings": True, "display_progressbar": False}


# captum


@pytest.mark.parametrize("perturbation", [GaussianNoise(0.3), RemovedSquare(4)], ids=["noise", "square"])
@pytest.mark.parametrize("is_scaled", [False, True])
def test_infidelity_is_captums_under_the_same_perturbations(model, answer, perturbation, is_scaled):
    metrics = pytest.importorskip("captum.metrics", reason="captum is not installed")
    asked, seen = recorded(answer)
    ours = infidelity(asked, IMAGE, MAP, perturbation=perturbation, kind="per_unit", samples=20)
    perturbed = torch.from_numpy(np.stack(seen[1:]))
    with torch.no_grad():
        theirs = metrics.infidelity(
            model,
            lambda images: (images - perturbed, perturbed),
            torch.from_numpy(IMAGE[None]),
            torch.from_numpy(MAP[None, None]),
            target=CHOSEN,
            n_perturb_samples=20,
            normalize=is_scaled,
        )
    assert (ours.value_at_best_scale if is_scaled else ours.value) == pytest.approx(theirs.item(), rel=1e-3)


def test_max_sensitivity_is_captums_relative_one_under_the_same_noise(model):
    metrics = pytest.importorskip("captum.metrics", reason="captum is not installed")
    noisy = []

    def explain_map(image):
        noisy.append(image.copy())
        return gradient(model, image[None])[0, 0]

    ours = max_sensitivity(explain_map, IMAGE, radius=0.2, samples=15)
    theirs = metrics.sensitivity_max(
        # one tensor in place of a tuple of one would be taken for a tuple of images, and the norms with it
        lambda images: (torch.from_numpy(gradient(model, images[0].numpy())),),
        torch.from_numpy(IMAGE[None]),
        perturb_func=lambda images: (torch.from_numpy(np.stack(noisy[1:])),),
        n_perturb_samples=15,
    )
    assert ours.relative == pytest.approx(theirs.item(), rel=1e-5)


def gradient(model, images):
    batch = torch.from_numpy(np.array(images)).requires_grad_()
    with torch.enable_grad():
        model(batch)[:, CHOSEN].sum().backward()
    return batch.grad.numpy()


# pytorch-grad-cam


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_imputation_is_that_of_pytorch_grad_cam(share):
    """Their equations: the call around them hands tensors to NumPy in a way that NumPy 2 no longer takes."""
    peers.grad_cam_library()
    road_of_theirs = importlib.import_module("pytorch_grad_cam.metrics.road")
    image = np.random.default_rng(2).normal(size=(3, 12, 16)).astype(np.float32)
    missing = np.quantile(MAP, 1 - share) <= MAP
    system, right = road_of_theirs.NoisyLinearImputer.setup_sparse_system(
        1.0 - missing, image, road_of_theirs.neighbors_weights
    )
    theirs = image.copy()
    theirs[:, missing] = spsolve(system.tocsc(), right).T
    np.testing.assert_allclose(linear_imputation(image, missing), theirs, atol=2e-6)


# Quantus


def test_imputation_is_that_of_quantus(quantus):
    perturb = importlib.import_module("quantus.functions.perturb_func").noisy_linear_imputation
    missing = np.quantile(MAP, 0.4) <= MAP
    theirs = perturb(arr=IMAGE, indices=np.flatnonzero(missing), noise=0)
    np.testing.assert_allclose(linear_imputation(IMAGE, missing), theirs, atol=2e-6)


def test_road_counts_the_same_right_predictions_as_quantus(quantus):
    """Quantus counts predictions, and rounds numbers of pixels down; 192 pixels part evenly at these fractions."""
    percentages, outcomes = [12.5, 25, 37.5, 50, 62.5, 75, 87.5], set()
    for seed in range(6):
        torch.manual_seed(seed)
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2)).eval()

        def is_right(images, net=net):
            with torch.no_grad():
                return (net(torch.from_numpy(images)).argmax(dim=1) == CHOSEN).numpy()

        metric = quantus.ROAD(percentages=percentages, noise=0.0, **PLAIN)
        theirs = list(judged(metric, net).values())
        ours = road(is_right, IMAGE, MAP, fractions=[each / 100 for each in percentages], noise=0).scores
        assert ours.tolist() == theirs
        outcomes |= set(theirs)
    assert outcomes == {0, 1}


@pytest.mark.parametrize("per_step", [1, 4, 12])
def test_deletion_is_pixel_flipping_of_quantus_after_its_first_score(quantus, model, answer, per_step):
    """Quantus leaves the score of the whole image out of its curve."""
    metric = quantus.PixelFlipping(features_in_step=per_step, perturb_baseline=0.0, **PLAIN)
    ours = deletion(answer, IMAGE, MAP, steps=192 // per_step)
    np.testing.assert_allclose(ours.scores[1:], judged(metric, model)[0], rtol=1e-5, atol=1e-7)
    assert ours.scores[0] == pytest.approx(answer(IMAGE[None])[0])


def test_sparseness_is_that_of_quantus_up_to_the_millionth_that_it_adds(quantus, model):
    metric = quantus.Sparseness(normalise=False, disable_warnings=True)
    assert sparseness(MAP) == pytest.approx(judged(metric, model)[0], rel=1e-5)


def test_complexity_is_that_of_quantus(quantus, model):
    metric = quantus.Complexity(normalise=False, disable_warnings=True)
    assert complexity(MAP) == pytest.approx(judged(metric, model)[0], rel=1e-6)


def test_infidelity_is_that_of_quantus_under_the_same_perturbations(quantus, model, answer):
    """Quantus removes block after block and never puts one back; here it is handed our squares instead."""
    asked, seen = recorded(answer)
    ours = infidelity(asked, IMAGE, MAP, perturbation=RemovedSquare(4), kind="per_unit", samples=12)
    perturbed = iter(seen[1:])
    metric = quantus.Infidelity(
        perturb_func=lambda arr, **_: next(perturbed).reshape(arr.shape),
        perturb_patch_sizes=[4],  # twelve blocks
        n_perturb_samples=1,
        **PLAIN,
    )
    assert ours.value == pytest.approx(judged(metric, model)[0], rel=1e-4)
    assert next(perturbed, None) is None


def test_max_sensitivity_is_that_of_quantus_under_the_same_noise(quantus, model):
    noisy = []

    def explain_map(image):
        noisy.append(image.copy())
        return gradient(model, image[None])[0, 0]

    ours = max_sensitivity(explain_map, IMAGE, radius=0.2, samples=15)
    copies = iter(noisy[1:])
    metric = quantus.MaxSensitivity(
        nr_samples=15, perturb_func=lambda arr, **_: next(copies).reshape(arr.shape), **PLAIN
    )
    theirs = judged(
        metric,
        model,
        values=gradient(model, IMAGE[None])[0],
        explain_func=lambda model, inputs, **_: gradient(model, inputs),
    )
    assert ours.relative == pytest.approx(theirs[0], rel=1e-5)


def test_completeness_is_that_of_quantus_where_numbers_are_whole(quantus):
    """Quantus asks whether the sums are equal to the last bit."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2)).eval()
    random = np.random.default_rng(3)
    weights = random.integers(-3, 4, size=(2, 192)).astype(np.float32)
    net[1].weight.data, net[1].bias.data = torch.from_numpy(weights), torch.tensor([1.0, 2.0])
    image = random.integers(1, 5, size=(1, 12, 16)).astype(np.float32)
    shares = weights[CHOSEN].reshape(12, 16) * image[0]

    def score(images):
        with torch.no_grad():
            return net(torch.from_numpy(images))[:, CHOSEN].double().numpy()

    metric = quantus.Completeness(perturb_baseline=0.0, **PLAIN)
    for values, is_complete in ((shares, True), (shares + 1, False)):
        assert bool(judged(metric, net, image=image, values=values)[0]) is is_complete
        assert (completeness(score, image, values).gap == 0) is is_complete
