"""Settings and options that each make sense alone, and together would give a plausible wrong map: refused, or right."""

import expectations
import numpy as np
import pytest
from numpy.testing import assert_allclose
from paper_networks import explained

from xai_med import Classes, FunctionOfOutput, Mask, evaluate, explain, sanity_check
from xai_med.errors import SettingError
from xai_med.testing import NETWORKS

NAME = "vgg_like"


def images():
    return expectations.images(NAME).astype(np.float64)


def asked(backend, **settings):
    return explained(backend, NETWORKS[NAME](), images(), **settings)


@pytest.mark.parametrize("seed", [None, -1, 1.5, "a", True, np.random.default_rng(0)])
@pytest.mark.parametrize("method", ["rise", "smooth_grad", "lime", "kernel_shap", "expected_gradients"])
def test_a_seed_is_a_whole_number(method, seed, backend):
    with pytest.raises(SettingError, match="seed is a whole number"):
        asked(backend, method=method, seed=seed)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("ablation_cam", {"relu": "no"}, "relu is True or False, got 'no'"),
        ("grad_cam", {"relu": 3}, "relu is True or False, got 3"),
        ("rise", {"centred": "no"}, "centred is True or False"),
        ("rise", {"probability": "a"}, "probability is a number, got 'a'"),
        ("smooth_grad", {"noise": True}, "noise is a number, got True"),
        ("gradient", {"read_out": ["l2"]}, r"read_out is a word, got \['l2'\]"),
        ("integrated_gradients", {"tolerance": None}, "tolerance is a number, got None"),
        ("clear", {"threshold": "a"}, "threshold is a number"),
        ("smooth_grad", {"of_settings": 3}, "of_settings is a mapping of names to values, got 3"),
    ],
)
def test_settings_are_of_the_kind_that_they_are_said_to_be(method, settings, message, backend):
    with pytest.raises(SettingError, match=message):
        asked(backend, method=method, **settings)


def test_numpys_numbers_are_numbers(backend):
    first = asked(backend, method="smooth_grad", samples=np.int64(2), noise=np.float32(0.25), seed=np.uint8(3))
    second = asked(backend, method="smooth_grad", samples=2, noise=0.25, seed=3)
    assert_allclose(first.attribution, second.attribution)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("occlusion", {"baseline": np.zeros((3, 11, 9))}),
        ("integrated_gradients", {"baseline": [np.zeros((3, 11, 9)), 0.5]}),
        ("lime", {"parts": np.arange(99).reshape(11, 9) // 20}),
        ("score_cam", {"features": np.ones((3, 2, 4, 4))}),
        ("smooth_grad", {"of": "occlusion", "of_settings": {"baseline": np.zeros((3, 11, 9))}}),
    ],
)
def test_images_among_the_settings_do_not_go_with_copies_of_the_image(method, settings, backend):
    with pytest.raises(SettingError, match="= holds an image, which smoothing= would have to change with the input"):
        asked(backend, method=method, smoothing="flips", **settings)


def test_given_features_belong_to_one_image(backend):
    with pytest.raises(SettingError, match="features= belong to one image, and smooth_grad asks at others"):
        asked(backend, method="smooth_grad", of="score_cam", of_settings={"features": np.ones((3, 2, 4, 4))})
    with pytest.raises(SettingError, match="features= stay the trained model's at every stage"):
        sanity_check(
            backend.build(NETWORKS[NAME](), dtype="float64"), images(), method="score_cam", target=0,
            features=np.ones((3, 2, 4, 4)),
        )  # fmt: skip


def test_classes_are_not_compared_on_maps_that_were_changed_one_by_one(backend):
    for settings in ({"of": "grad_cam", "layer": ["conv2", "pool1"]}, {"smoothing": "flips"}):
        with pytest.raises(SettingError, match="clear compares classes on one map of each"):
            asked(backend, method="clear", **settings)


def test_one_number_per_channel_is_told_from_several_baselines(backend):
    with pytest.raises(SettingError, match=r"may be one number for each of 3 channels, or as many baselines"):
        asked(backend, method="integrated_gradients", baseline=[0.1, 0.2, 0.3])
    channels = asked(backend, method="integrated_gradients", baseline=np.array([0.1, 0.2, 0.3]), tolerance=0.1)
    assert channels.attribution.shape == (3, 3, 3, 11, 9)


def test_layers_given_as_modules_hold_for_a_copy_of_the_model():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Conv2d(2, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(32, 2),
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype(np.float32)
    by_module = explain(model, x, method="grad_cam", layer=[model[1], model[3]], dtype="float64")
    by_name = explain(model, x, method="grad_cam", layer=["1", "3"], dtype="float64")
    assert_allclose(by_module.attribution, by_name.attribution)


def test_an_evaluation_judges_each_image_by_its_own_question(backend, rng):
    model = backend.build(NETWORKS[NAME](), dtype="float64")
    with pytest.raises(SettingError, match="may hold numbers of all images; evaluate one image at a time"):
        evaluate(
            model, images(), methods=["gradient"], metrics=["sparseness"],
            target=FunctionOfOutput(lambda logits: logits[:, 0]),
        )  # fmt: skip
    with pytest.raises(SettingError, match="metrics is a sequence of names, got the one string"):
        evaluate(model, images(), methods=["gradient"], metrics="deletion")
    with pytest.raises(SettingError, match="masks hold other values than 0 and 1"):
        evaluate(
            model, images(), methods=["cam"], metrics=["mass"], masks=np.full((3, 11, 9), np.nan), target=Classes(0)
        )


def test_an_evaluation_takes_a_mask_for_each_image(rng):
    weights, x = rng.normal(size=(1, 1, 4, 6)), rng.normal(size=(2, 1, 4, 6))
    masks = rng.integers(0, 2, size=(2, 4, 6))
    found = evaluate(
        lambda some: some * weights, x, methods={"occlusion": {"patch": 1, "stride": 1}}, metrics=["completeness"],
        target=Mask(0, masks),
    )  # fmt: skip
    assert found.of("occlusion", "completeness").values.max() < 1e-6


def test_the_sanity_check_follows_the_output_that_is_asked_for():
    torch = pytest.importorskip("torch")

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = torch.nn.Conv2d(1, 4, 3), torch.nn.Linear(4, 2)

        def forward(self, x):
            logits = self.head(torch.relu(self.first(x)).mean((2, 3)))
            return {"logits": logits, "aux": -2 * logits}

    torch.manual_seed(0)
    model, x = Two().double().eval(), np.random.default_rng(0).normal(size=(3, 1, 12, 12))
    chosen = explain(model, x, method="gradient", output="aux").class_indices[:, 0]
    default = explain(model, x, method="gradient").class_indices[:, 0]
    assert (chosen != default).all()
    settings = {"method": "gradient", "output": "aux", "stages": ["head"], "kind": "spearman"}
    predicted, named = (
        sanity_check(model, x, target=target, **settings) for target in (None, [int(k) for k in chosen])
    )
    assert_allclose(predicted.similarities, named.similarities)
    with pytest.raises(SettingError, match="one score is followed, and 2 were asked for"):
        sanity_check(model, x, target="all", **settings)
