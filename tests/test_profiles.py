"""Other libraries' conventions: what they return, beside what we say that they would."""

import warnings
from pathlib import Path

import expectations
import numpy as np
import peers
import pytest
from numpy.testing import assert_allclose
from paper_networks import explained, pooled

from xai_med import Classes, Contrast, Explanation, Probability, explain
from xai_med.errors import NotApplicableError, SettingError, TargetError, UnknownNameError
from xai_med.profiles import PROFILES
from xai_med.registry import get_backend
from xai_med.testing import NETWORKS, example_input
from xai_med.testing.check_backend import relative

EXACT = 1e-6  # of the array's range, in double precision; float32 within the peer leaves some 1e-7
LAYER = {  # a module, which is all that hooks can see; of another resolution than the image
    "vgg_like": "conv2",
    "resnet_like": "b_out",
    "grouped": "relu3",
    "convolution_head": "relu1",
    "signal": "pool2",
    "volume": "pool2",
}
METHODS = [(profile, method) for profile in PROFILES for method in PROFILES[profile].conventions]
COVERED = set()  # (profile, method) that a test of this file compares with the peer


def covers(profile, *methods):
    """Mark a test as a comparison with the installed peer."""
    COVERED.update((profile, method) for method in methods)
    return lambda test: test


@pytest.fixture
def torch_backend():
    pytest.importorskip("torch", reason="torch is not installed")
    return get_backend("torch")


@pytest.fixture
def captum():
    return pytest.importorskip("captum", reason="captum is not installed")


@pytest.fixture
def torchcam():
    return pytest.importorskip("torchcam", reason="torchcam is not installed")


@pytest.fixture
def monai():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("monai", reason="monai is not installed")
        return pytest.importorskip("monai.visualize", reason="monai is not installed")


@pytest.fixture
def zennit():
    try:
        return peers.zennit()
    except ModuleNotFoundError:
        pytest.skip("zennit is not installed")


@pytest.fixture
def interpretdl():
    pytest.importorskip("paddle", reason="paddle is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("interpretdl", reason="interpretdl is not installed")


def asked(backend, name, **settings):
    """Our result in double precision, the model, and the images."""
    blueprint = NETWORKS[name]()
    images = example_input(blueprint, 3).astype(np.float64)
    return explained(backend, blueprint, images, **settings), backend.build(blueprint, dtype="float64"), images


def same(found, profile, theirs, tolerance=EXACT):
    """Compare an array with the peer's, shape and all, and see that there is something to compare."""
    ours = found.extras[profile]
    assert ours.shape == theirs.shape
    assert np.ptp(theirs) > 0
    assert relative(ours, theirs) <= tolerance


# ---- captum


@covers("captum", "grad_cam")
@pytest.mark.parametrize("name", LAYER)
def test_captum_layer_grad_cam(name, torch_backend, captum):
    found, model, images = asked(torch_backend, name, method="grad_cam", layer=LAYER[name], profile="captum")
    theirs = peers.captum_layer_grad_cam(model, LAYER[name], images, found.scores.shape[1])
    same(found, "captum", theirs[:, :, None])
    assert theirs.min() < 0
    assert found.settings["relu"] is False


@covers("captum", "gradient", "input_x_gradient", "guided_backprop", "deconvnet")
@pytest.mark.parametrize(
    ("method", "theirs"),
    [
        ("gradient", "Saliency"),
        ("input_x_gradient", "InputXGradient"),
        ("guided_backprop", "GuidedBackprop"),
        ("deconvnet", "Deconvolution"),
    ],
)
@pytest.mark.parametrize("name", ["convolution_head", "class_kernels"])
def test_captum_at_the_input(method, theirs, name, torch_backend, captum):
    found, model, images = asked(torch_backend, name, method=method, profile="captum")
    same(found, "captum", peers.captum_at_input(theirs, model, images, found.scores.shape[1]))


@covers("captum", "guided_grad_cam")
@pytest.mark.parametrize(("interpolation", "theirs"), [("nearest", "nearest"), ("linear", "bilinear")])
def test_captum_guided_grad_cam(interpolation, theirs, torch_backend, captum):
    name, layer = "class_kernels", "classes"
    given = {} if interpolation == "nearest" else {"interpolation": "linear"}
    found, model, images = asked(torch_backend, name, method="guided_grad_cam", layer=layer, profile="captum", **given)
    same(found, "captum", peers.captum_guided_grad_cam(model, layer, images, 4, interpolation=theirs))


@covers("captum", "occlusion")
@pytest.mark.parametrize(("patch", "stride"), [((3, 2), (2, 2)), ((3, 2), None), (4, 1)])
def test_captum_occlusion_where_windows_fit(patch, stride, torch_backend, captum):
    given = {"patch": patch} if stride is None else {"patch": patch, "stride": stride}
    found, model, images = asked(torch_backend, "convolution_head", method="occlusion", profile="captum", **given)
    sides = patch if isinstance(patch, tuple) else (patch, patch)
    steps = (1, 1) if stride is None else stride if isinstance(stride, tuple) else (stride, stride)
    theirs = peers.captum_at_input(
        "Occlusion", model, images, 3, sliding_window_shapes=(2, *sides), strides=(2, *steps)
    )
    same(found, "captum", theirs)


def test_captum_occlusion_is_refused_where_windows_do_not_fit(torch_backend):
    with pytest.raises(SettingError, match=r"windows of 4, 2 apart.*9 pixels"):
        asked(torch_backend, "convolution_head", method="occlusion", profile="captum", patch=4, stride=2)
    with pytest.raises(SettingError, match="patch"):
        asked(torch_backend, "convolution_head", method="occlusion", profile="captum")


@covers("captum", "lrp")
@pytest.mark.parametrize("name", ["fully_connected_head", "hidden_layer_head", "class_kernels"])
def test_captum_lrp_without_batch_norm(name, torch_backend, captum):
    found, model, images = asked(torch_backend, name, method="lrp", profile="captum")
    same(found, "captum", peers.captum_lrp(model, images, found.scores.shape[1]))


def test_captum_lrp_on_batch_norm_is_refused(torch_backend):
    with pytest.raises(NotApplicableError, match="batch norms"):
        asked(torch_backend, "vgg_like", method="lrp", profile="captum")


def test_captum_leaves_functional_relus_as_they_are_and_we_do_not(torch_backend, captum):
    found, model, images = asked(torch_backend, "hidden_layer_head", method="guided_backprop", profile="captum")
    theirs = peers.captum_at_input("GuidedBackprop", model, images, 3)
    assert relative(found.extras["captum"], theirs) > 0.01  # its relu2 is a function


def test_captum_occlusion_needs_the_images_channels(torch_backend):
    with pytest.raises(SettingError, match="keep_input=False"):
        asked(torch_backend, "convolution_head", method="occlusion", profile="captum", patch=3, keep_input=False)


# ---- pytorch-grad-cam

RELATIVES = {
    "grad_cam": "GradCAM",
    "grad_cam_plus_plus": "GradCAMPlusPlus",
    "hires_cam": "HiResCAM",
    "layer_cam": "LayerCAM",
    "xgrad_cam": "XGradCAM",
}


@covers("pytorch_grad_cam", *RELATIVES)
@pytest.mark.parametrize("method", RELATIVES)
@pytest.mark.parametrize(
    ("name", "layer"),
    [("vgg_like", "pool1"), ("grouped", "relu3"), ("fully_connected_head", "pool1"), ("volume", "pool2")],
)
def test_pytorch_grad_cam_and_its_relatives(method, name, layer, torch_backend):
    peers.grad_cam_library()
    found, model, images = asked(torch_backend, name, method=method, layer=layer, profile="pytorch_grad_cam")
    theirs = peers.grad_cam_scaled(RELATIVES[method], model, layer, images, found.scores.shape[1])
    same(found, "pytorch_grad_cam", theirs)


def test_pytorch_grad_cam_takes_the_positive_part_before_it_enlarges(torch_backend):
    peers.grad_cam_library()
    found, *_ = asked(torch_backend, "vgg_like", method="grad_cam", layer="conv2", profile="pytorch_grad_cam")
    signed, *_ = asked(torch_backend, "vgg_like", method="grad_cam", layer="conv2", relu=False)
    after = np.maximum(signed.maps, 0)
    after = after / np.maximum(after.max(axis=(2, 3), keepdims=True), 1e-12)
    assert np.abs(after - found.extras["pytorch_grad_cam"]).max() > 0.05


@covers("pytorch_grad_cam", "ablation_cam")
def test_pytorch_grad_cam_ablates_as_we_do_where_the_score_is_positive(torch_backend):
    peers.grad_cam_library()
    found, model, images = asked(
        torch_backend, "convolution_head", method="ablation_cam", layer="relu1", profile="pytorch_grad_cam"
    )
    theirs = peers.grad_cam_scaled("AblationCAM", model, "relu1", images.astype(np.float64), 3)
    ours, positive = found.extras["pytorch_grad_cam"], found.scores > 0
    assert positive.any()
    assert not positive.all()
    assert_allclose(ours[positive], theirs[positive], rtol=0, atol=1e-5)
    assert np.abs(ours[~positive] - theirs[~positive]).max() > 0.1  # turned around: a fault, named in PROFILES


@covers("pytorch_grad_cam", "eigen_cam", "eigen_grad_cam")
@pytest.mark.parametrize(("method", "name"), [("eigen_cam", "EigenCAM"), ("eigen_grad_cam", "EigenGradCAM")])
def test_pytorch_grad_cam_projects_as_we_do_but_for_the_sign(method, name, torch_backend):
    peers.grad_cam_library()
    found, model, images = asked(torch_backend, "vgg_like", method=method, layer="pool1", profile="pytorch_grad_cam")
    theirs = peers.grad_cam_scaled(name, model, "pool1", images, 3)
    ours = found.extras["pytorch_grad_cam"]
    differences = np.abs(ours - theirs).max(axis=(2, 3))
    equal = differences < 1e-5
    assert equal.any()
    for n, k in np.argwhere(~equal):  # theirs has the other sign: nowhere are both positive at the layer
        assert np.corrcoef(ours[n, k].ravel(), theirs[n, k].ravel())[0, 1] < 0


def test_pytorch_grad_cam_takes_no_signals(torch_backend):
    with pytest.raises(SettingError, match="2 or 3 space axes"):
        asked(torch_backend, "signal", method="grad_cam", profile="pytorch_grad_cam")


# ---- torch-cam


@covers("torchcam", "cam")
@pytest.mark.parametrize("name", ["resnet_like", "grouped", "convolution_head", "signal", "volume"])
def test_torchcam_cam(name, torch_backend, torchcam):
    found, model, images = asked(torch_backend, name, method="cam", profile="torchcam")
    theirs = peers.torchcam_normalised("CAM", model, LAYER[name], images, found.scores.shape[1], "classifier")
    same(found, "torchcam", theirs)
    assert found.attribution.min() < 0


@covers("torchcam", "grad_cam", "layer_cam", "xgrad_cam")
@pytest.mark.parametrize(
    ("method", "peer"), [("grad_cam", "GradCAM"), ("layer_cam", "LayerCAM"), ("xgrad_cam", "XGradCAM")]
)
@pytest.mark.parametrize(
    ("name", "layer"),
    [("vgg_like", "pool1"), ("fully_connected_head", "pool1"), ("signal", "pool1"), ("volume", "pool2")],
)
def test_torchcam_and_its_relatives(method, peer, name, layer, torch_backend, torchcam):
    found, model, images = asked(torch_backend, name, method=method, layer=layer, profile="torchcam")
    theirs = peers.torchcam_normalised(peer, model, layer, images, found.scores.shape[1])
    same(found, "torchcam", theirs)


# ---- MONAI


@covers("monai", "cam")
@pytest.mark.parametrize("name", ["resnet_like", "grouped", "signal", "volume"])
def test_monai_cam(name, torch_backend, monai):
    found, model, images = asked(torch_backend, name, method="cam", profile="monai")
    theirs = peers.monai_cam("CAM", model, LAYER[name], images, found.scores.shape[1], fc_layers="classifier")
    same(found, "monai", theirs)
    peak = np.unravel_index(found.maps[0, 0].argmax(), found.maps.shape[2:])
    assert found.extras["monai"][0, 0, 0][peak] < 1e-5  # the strongest evidence is 0


@covers("monai", "grad_cam")
@pytest.mark.parametrize("name", LAYER)
def test_monai_grad_cam(name, torch_backend, monai):
    found, model, images = asked(torch_backend, name, method="grad_cam", layer=LAYER[name], profile="monai")
    same(found, "monai", peers.monai_cam("GradCAM", model, LAYER[name], images, found.scores.shape[1]))


def test_monai_draws_a_map_without_evidence_as_the_strongest(torch_backend, monai):
    """A map of zeros stays zero there, which elsewhere is the strongest evidence; ours says that there is none."""
    blueprint = pooled([[-1.0, -2.0], [1.0, 2.0]], (2, 4, 4))
    images = np.random.default_rng(0).uniform(1, 2, (1, 2, 4, 4))
    found = explained(torch_backend, blueprint, images, method="grad_cam", layer="same", profile="monai")
    model = torch_backend.build(blueprint, dtype="float64")
    theirs = peers.monai_cam("GradCAM", model, "same", images, 2)
    assert_allclose(found.extras["monai"], theirs, rtol=0, atol=1e-6)
    assert (theirs[0, 0] == 0).all()
    assert theirs[0, 1].max() == 1
    assert found.check("no_positive_evidence").value == 1


@pytest.mark.parametrize("bias", [None, [0.5, -3.0]])
def test_monai_leaves_a_constant_class_map_with_its_bias(bias, torch_backend, monai):
    blueprint = pooled([[-1.0, -2.0], [1.0, 2.0]], (2, 4, 4), bias=bias)
    images = np.ones((1, 2, 4, 4))
    found = explained(torch_backend, blueprint, images, method="cam", profile="monai")
    model = torch_backend.build(blueprint, dtype="float64")
    theirs = peers.monai_cam("CAM", model, "same", images, 2, fc_layers="head")
    assert_allclose(found.extras["monai"], theirs, rtol=0, atol=1e-6)
    assert_allclose(theirs[0, :, 0, 0, 0], found.scores[0], atol=1e-6)


@covers("monai", "gradient", "guided_backprop")
@pytest.mark.parametrize(("method", "peer"), [("gradient", "VanillaGrad"), ("guided_backprop", "GuidedBackpropGrad")])
def test_monai_gradients(method, peer, torch_backend, monai):
    found, model, images = asked(torch_backend, "class_kernels", method=method, profile="monai")
    same(found, "monai", peers.monai_gradient(peer, model, images, 4))


@covers("monai", "smooth_grad")
def test_monai_smooth_grad_of_the_same_noise(torch_backend, monai, monkeypatch):
    import torch

    found, model, images = asked(torch_backend, "class_kernels", method="smooth_grad", profile="monai", seed=3)
    assert found.settings["samples"] == 25
    shape = images.shape[1:]
    draws = np.random.default_rng(3).standard_normal((25, *shape))
    turn = iter(np.tile(draws, (len(images) * 4, 1, 1, 1)))
    monkeypatch.setattr(torch, "normal", lambda mean, width, **_: torch.from_numpy(width * next(turn))[None])
    theirs = peers.monai_gradient("SmoothGrad", model, images, 4, verbose=False)
    same(found, "monai", theirs)


# ---- InterpretDL


def on_paddle(method, target, **settings):
    backend, blueprint = get_backend("paddle"), NETWORKS["vgg_like"]()
    images = example_input(blueprint, 2)
    found = explain(backend.build(blueprint), images, method=method, target=target, profile="interpretdl", **settings)
    return found, backend.build(blueprint), images


@covers("interpretdl", "grad_cam")
@pytest.mark.parametrize("layer", ["pool1", "conv2"])
def test_interpretdl_grad_cam(layer, interpretdl):
    found, model, images = on_paddle("grad_cam", "all", layer=layer)
    theirs = peers.interpretdl("GradCAMInterpreter", model, images, 3, target_layer_name=layer)
    same(found, "interpretdl", theirs, 1e-5)
    assert found.targets[0][1] == "probability of class 1"


@covers("interpretdl", "smooth_grad")
def test_interpretdl_smooth_grad_of_the_same_noise(interpretdl, monkeypatch):
    found, model, images = on_paddle("smooth_grad", Classes(0, 2), samples=6, seed=5)
    assert found.settings["noise"] == 0.1
    draws = np.random.default_rng(5).standard_normal((6, *images.shape[1:]))
    turn = iter([draw for _ in range(2) for draw in draws for _ in images])  # for each class, sample and image
    monkeypatch.setattr(np.random, "normal", lambda mean, width, shape: width * next(turn).reshape(shape))
    theirs = peers.interpretdl("SmoothGradInterpreter", model, images, (0, 2), n_samples=6)
    same(found, "interpretdl", theirs, 1e-5)


def test_the_predicted_class_of_a_softmax_is_that_of_the_clean_image(backend):
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint, 3)
    model = backend.build(blueprint)
    settings = {"method": "smooth_grad", "profile": "interpretdl", "samples": 4, "noise": 1.5}
    found = explain(model, images, **settings)
    predicted = explain(model, images, method="gradient").class_indices
    named = explain(model, images, target=predicted, **settings)
    assert_allclose(found.attribution, named.attribution, rtol=0, atol=0)
    assert found.targets == named.targets


def test_the_softmax_of_a_class_is_its_probability(backend):
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint, 3)
    model = backend.build(blueprint)
    found = explain(model, images, method="grad_cam", target=[0, 2, 1], profile="interpretdl")
    for image, k in enumerate((0, 2, 1)):
        alone = explain(
            model, images[[image]], method="grad_cam", target=Probability(k), activation="softmax", over_channels="mean"
        )
        assert_allclose(found.scores[image], alone.scores[0], rtol=1e-6)
        assert_allclose(found.attribution[image], alone.attribution[0], rtol=1e-4, atol=1e-8)


def test_a_softmax_is_asked_for_image_by_image_where_a_model_mixes_images():
    torch = pytest.importorskip("torch", reason="torch is not installed")

    class Mixing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.features, self.head = torch.nn.Conv2d(2, 4, 3), torch.nn.Linear(4, 3)

        def forward(self, x):
            features = torch.relu(self.features(x))
            return self.head((features * (1 + 0.1 * features.mean().item())).mean((2, 3)))

    images = np.random.default_rng(0).normal(size=(3, 2, 7, 7)).astype(np.float32)
    model, settings = Mixing(), {"method": "grad_cam", "layer": "features", "profile": "interpretdl"}
    with torch.random.fork_rng():
        found = explain(model, images, target=[0, 2, 1], **settings)
    assert found.check("one_by_one").value == 3
    for image, k in enumerate((0, 2, 1)):
        alone = explain(model, images[[image]], target=k, **settings)
        assert_allclose(found.attribution[image], alone.attribution[0], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "settings", "why"),
    [
        ("softmax_output", {}, "ends in a softmax"),
        ("sigmoid_output", {}, "ends in a sigmoid"),
        ("vgg_like", {"activation": "sigmoid"}, "activation='sigmoid'"),
        ("vgg_like", {"target": Contrast(0, 1)}, "not one class"),
        ("single_logit", {}, "single output|not one class"),
    ],
)
def test_a_softmax_that_would_mean_nothing_is_refused(name, settings, why, backend):
    blueprint = NETWORKS[name]()
    with pytest.raises(TargetError, match=why):
        explain(
            backend.build(blueprint), example_input(blueprint), method="grad_cam", profile="interpretdl", **settings
        )


# ---- zennit


@covers("zennit", "lrp")
@pytest.mark.parametrize(
    ("composite", "peer"), [("epsilon_plus", "EpsilonPlus"), ("epsilon_plus_flat", "EpsilonPlusFlat")]
)
@pytest.mark.parametrize("name", ["fully_connected_head", "hidden_layer_head", "class_kernels"])
def test_zennit_from_one(composite, peer, name, torch_backend, zennit):
    given = {} if composite == "epsilon_plus" else {"composite": composite}
    found, model, images = asked(torch_backend, name, method="lrp", profile="zennit", **given)
    theirs = peers.zennit_one_hot(peer, model, images, found.scores.shape[1])
    ours = found.extras["zennit"]
    assert ours.shape == theirs.shape
    assert relative(ours * found.scores[:, :, None, None, None], theirs * found.scores[:, :, None, None, None]) <= EXACT
    assert relative(ours, theirs) <= 1e-4  # where a logit is small, the stabiliser shows


@covers("zennit", "gradient", "guided_backprop", "deconvnet")
@pytest.mark.parametrize(
    ("method", "peer"), [("gradient", None), ("guided_backprop", "GuidedBackprop"), ("deconvnet", "DeconvNet")]
)
def test_zennit_gradients(method, peer, torch_backend, zennit):
    found, model, images = asked(torch_backend, "class_kernels", method=method, profile="zennit")
    same(found, "zennit", peers.zennit_one_hot(peer, model, images, 4))


def test_relevance_from_one_needs_one_class(torch_backend):
    with pytest.raises(NotApplicableError, match="one class"):
        asked(torch_backend, "class_kernels", method="lrp", profile="zennit", target=Contrast(0, 1))


# ---- what holds for all


def test_every_convention_is_compared_with_its_peer():
    assert set(METHODS) == COVERED


@pytest.mark.parametrize(("profile", "method"), METHODS)
def test_maps_stay_ours_under_the_settings_that_are_implied(profile, method, backend):
    blueprint = NETWORKS["convolution_head"]()
    images = example_input(blueprint, 2).astype(np.float64)
    settings = {"patch": (3, 2)} if method == "occlusion" else {"samples": 3} if method == "smooth_grad" else {}
    asked = {"method": method, "target": Classes(1), **settings}
    found = explained(backend, blueprint, images, profile=profile, **asked)
    array = found.extras[profile]
    assert array.shape[:2] == (2, 1)
    assert not array.flags.writeable
    assert found.settings["profile"] == profile
    implied = {key: value for key, value in found.settings.items() if key != "profile"}
    if profile != "interpretdl":
        ours = explained(backend, blueprint, images, **{**asked, **implied})
        assert_allclose(found.maps, ours.maps, rtol=0, atol=0)


def test_torch_and_paddle_give_the_same_arrays():
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("paddle", reason="paddle is not installed")
    blueprint = NETWORKS["convolution_head"]()
    images = expectations.images("convolution_head").astype(np.float64)
    for profile, method in METHODS:
        settings = {"patch": (3, 2)} if method == "occlusion" else {"samples": 3} if method == "smooth_grad" else {}
        first, second = (
            explained(get_backend(name), blueprint, images, method=method, profile=profile, **settings).extras[profile]
            for name in ("torch", "paddle")
        )
        assert relative(first, second) < 1e-5


def test_a_result_verifies_itself_under_a_profile(backend):
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint, 2)
    for profile, method in [
        ("captum", "grad_cam"),
        ("pytorch_grad_cam", "grad_cam_plus_plus"),
        ("interpretdl", "grad_cam"),
    ]:
        found = explain(backend.build(blueprint), images, method=method, profile=profile, verify=True)
        assert found.all_passed
        assert found.check("recomputed").passed


def test_a_result_with_a_profile_is_saved_and_loaded(backend, tmp_path):
    blueprint = NETWORKS["vgg_like"]()
    found = explain(backend.build(blueprint), example_input(blueprint), method="cam", profile="MonAI")
    loaded = Explanation.load(found.save(tmp_path / "one.npz"))
    assert (loaded.extras["monai"] == found.extras["monai"]).all()
    assert loaded.settings["profile"] == "monai"


@pytest.mark.parametrize(
    ("profile", "method", "settings", "words"),
    [
        ("captum", "grad_cam", {"relu": True}, ["relu=True", "profile='captum'", "relu=False"]),
        ("torchcam", "layer_cam", {"relu": False}, ["relu=False", "profile='torchcam'"]),
        ("zennit", "lrp", {"epsilon": 0.1}, ["epsilon=0.1", "epsilon=1e-06"]),
        ("zennit", "lrp", {"composite": "epsilon"}, ["'epsilon_plus' or 'epsilon_plus_flat'"]),
        ("monai", "smooth_grad", {"statistic": "mean"}, ["statistic='mean'", "statistic='square'"]),
        ("pytorch_grad_cam", "grad_cam_plus_plus", {"variant": "released"}, ["variant='released'"]),
    ],
)
def test_a_setting_against_the_convention_is_refused(profile, method, settings, words, backend):
    blueprint = NETWORKS["vgg_like"]()
    with pytest.raises(SettingError) as refusal:
        explain(backend.build(blueprint), example_input(blueprint), method=method, profile=profile, **settings)
    assert all(word in str(refusal.value) for word in words)


def test_a_setting_that_agrees_and_a_default_of_the_peer_may_be_given(backend):
    blueprint = NETWORKS["vgg_like"]()
    model, images = backend.build(blueprint), example_input(blueprint)
    found = explain(model, images, method="grad_cam", profile="captum", relu=False)
    assert found.settings["relu"] is False
    found = explain(model, images, method="smooth_grad", profile="monai", samples=4)
    assert found.settings["samples"] == 4
    assert found.settings["noise"] == 0.15


@pytest.mark.parametrize(
    ("asked", "word"), [({"layer": ["conv1", "conv2"]}, "several layers"), ({"smoothing": "flips"}, "smoothing=")]
)
def test_layers_and_copies_that_libraries_combine_in_their_own_way_are_refused(asked, word, backend):
    blueprint = NETWORKS["vgg_like"]()
    with pytest.raises(SettingError, match=word):
        explain(backend.build(blueprint), example_input(blueprint), method="grad_cam", profile="captum", **asked)


def test_an_unknown_profile_is_refused_with_a_suggestion(backend):
    blueprint = NETWORKS["vgg_like"]()
    model, images = backend.build(blueprint), example_input(blueprint)
    with pytest.raises(UnknownNameError, match=r"no profile 'captun'; did you mean captum"):
        explain(model, images, method="grad_cam", profile="captun")
    with pytest.raises(UnknownNameError, match="named by a string"):
        explain(model, images, method="grad_cam", profile=3)


def test_a_method_that_is_not_covered_is_refused_and_those_that_are_are_listed(backend):
    blueprint = NETWORKS["vgg_like"]()
    model, images = backend.build(blueprint), example_input(blueprint)
    with pytest.raises(SettingError, match=r"'clear'.*it covers cam, grad_cam, layer_cam, xgrad_cam"):
        explain(model, images, method="clear", profile="torchcam")
    with pytest.raises(SettingError, match="Gauss-Legendre"):
        explain(model, images, method="integrated_gradients", profile="captum")


@pytest.mark.parametrize("name", ["sigmoid_output", "softmax_output"])
def test_a_model_that_returns_probabilities_is_refused_where_the_peer_would_explain_these(name, backend):
    blueprint = NETWORKS[name]()
    model, images = backend.build(blueprint), example_input(blueprint)
    with pytest.raises(NotApplicableError, match="Probability"):
        explain(model, images, method="gradient", profile="captum")


@pytest.mark.parametrize("name", ["sigmoid_output", "softmax_output"])
def test_the_probability_that_captum_explains_can_be_asked_for(name, torch_backend, captum):
    found, model, images = asked(torch_backend, name, method="gradient", profile="captum", target=Probability(0, 1, 2))
    same(found, "captum", peers.captum_saliency(model, images, 3))


@pytest.mark.parametrize("name", PROFILES)
def test_the_page_tells_what_each_profile_does_and_does_not(name):
    page = (Path(__file__).resolve().parents[1] / "docs" / "profiles.md").read_text(encoding="utf-8")
    profile = PROFILES[name]
    for method, convention in profile.conventions.items():
        assert f"| `{name}` | `{method}` | `{convention.call}` | {convention.differs} |" in page
    for what, why in profile.faults.items():
        assert f"| {name} ({profile.compared_with}) | {what} | {why} |" in page
    for method, why in profile.not_covered.items():
        assert f"| {name} | `{method}` | {why} |" in page
