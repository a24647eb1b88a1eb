"""Models that can only be asked: functions, ONNX sessions, scripted and loaded programs; right, or refused."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose

from xai_med import Classes, Mask, attribute, explain
from xai_med.errors import DtypeError, ModelError, NonFiniteError, NotApplicableError, OutputError, TargetError
from xai_med.registry import find_backend, get_backend
from xai_med.testing import NETWORKS, example_input

WEIGHTS = np.random.default_rng(0).normal(size=(3, 1, 6, 5))
IMAGES = np.random.default_rng(1).normal(size=(2, 1, 6, 5))
ADDED = np.einsum("ncij,kcij->nkij", IMAGES, WEIGHTS)


def model(images):
    return np.einsum("ncij,kcij->nk", images, WEIGHTS)


def occluded(function, images=IMAGES, **asked):
    return explain(function, images, method="occlusion", **{"patch": 1, "stride": 1, "target": "all", **asked})


def test_a_function_is_explained():
    found = occluded(model)
    assert_allclose(found.attribution, ADDED, atol=1e-12)
    assert found.backend == "callable"
    assert_allclose(found.scores, model(IMAGES))
    assert [check for check in found.checks if not check.passed] == []
    assert found.captions()[0].startswith("class 0: output ")
    assert "explained is what it returns" in found.check("only_asked").note
    assert "finite_weights" not in {check.key for check in found.checks}


def test_objects_that_can_be_called_are_functions_too():
    class Model:
        def __call__(self, images):
            return {"logits": model(images), "features": images}

        def predict(self, images):
            return model(images)

    assert_allclose(occluded(Model()).attribution, ADDED, atol=1e-12)
    assert_allclose(occluded(Model().predict).attribution, ADDED, atol=1e-12)


@pytest.mark.parametrize("method", ["cam", "grad_cam", "gradient", "lrp", "clear", "ablation_cam", "smooth_grad"])
def test_methods_that_need_more_than_answers_say_which_do_not(method):
    with pytest.raises(
        ModelError, match=r"operations cannot be seen: give .*; methods that only ask .* occlusion, rise, lime"
    ):
        explain(model, IMAGES, method=method)


def test_several_outputs_need_a_choice():
    with pytest.raises(OutputError, match=r"2 tensors .*; say which one"):
        occluded(lambda images: {"a": model(images), "b": images})
    assert_allclose(occluded(lambda x: {"a": model(x), "b": x}, output="a").attribution, ADDED, atol=1e-12)
    assert_allclose(occluded(lambda x: (x, model(x)), output=1).attribution, ADDED, atol=1e-12)


def test_dense_outputs_take_a_mask(rng):
    mask = rng.integers(0, 2, size=(6, 5)).astype(float)
    found = occluded(lambda x: np.concatenate([x, 2 * x], axis=1), target=Mask(1, mask))
    assert_allclose(found.attribution[:, 0], 2 * IMAGES[:, 0] * mask, atol=1e-12)


def test_one_number_per_image_is_one_logit():
    found = occluded(lambda x: model(x)[:, 1], target="positive")
    assert_allclose(found.attribution[:, 0], ADDED[:, 1], atol=1e-12)


def test_a_model_that_takes_one_image_at_a_time_gets_one():
    def single(images):
        if len(images) != 1:
            raise RuntimeError("exported for one image")
        return model(images)

    assert_allclose(occluded(single, IMAGES[:1]).attribution, ADDED[:1], atol=1e-12)


def test_a_model_that_mixes_images_is_asked_one_by_one():
    def mixing(images):
        return model(images - images.mean(axis=0, keepdims=True) * (len(images) > 1))

    assert_allclose(occluded(mixing).attribution, ADDED, atol=1e-12)
    found = occluded(mixing, batch_size=32)
    assert_allclose(found.attribution, ADDED, atol=1e-12)
    assert "differs from that in a batch" in found.check("one_by_one").note


def test_chance_is_refused():
    generator = np.random.default_rng(0)
    with pytest.raises(NotApplicableError, match="two answers to one question"):
        occluded(lambda x: model(x) + generator.normal())


def test_the_function_cannot_change_the_callers_images():
    def writing(images):
        found = model(images)
        images[:] = 0
        return found

    given = IMAGES.copy()
    assert_allclose(occluded(writing, given).attribution, ADDED, atol=1e-12)
    assert (given == IMAGES).all()


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda x: model(x)[:0], OutputError, r"shape \(0, 3\) for 1 images"),
        (lambda x: 1.0, OutputError, r"shape \(\) for 1 images"),
        (lambda x: model(x) * np.nan, NonFiniteError, "NaN or infinite"),
        (lambda x: "pneumonia", OutputError, "the model returned a str"),
    ],
)
def test_answers_that_are_none_are_refused(function, error, message):
    with pytest.raises(error, match=message):
        occluded(function)


def test_a_score_that_becomes_infinite_under_a_mask_is_refused():
    with pytest.raises(NonFiniteError, match=r"the model's (score of a changed image|output) "):
        occluded(lambda x: np.where((x == 0).any(axis=(1, 2, 3))[:, None], np.inf, model(x)))


def test_an_error_of_the_function_stays_as_it_is():
    def broken(images):
        raise KeyError("weights")

    with pytest.raises(KeyError, match="weights"):
        occluded(broken)


def test_images_must_be_arrays_of_floating_point():
    with pytest.raises(DtypeError, match=r"NumPy arrays of floating point, got int64"):
        occluded(model, IMAGES.astype(np.int64))


def test_what_weights_would_be_needed_for_is_refused():
    with pytest.raises(ModelError, match="weights are out of sight"):
        occluded(model, dtype="float64")
    with pytest.raises(ModelError, match="cannot be built without a framework"):
        get_backend("callable").build(NETWORKS["vgg_like"]())
    with pytest.raises(ModelError, match=r"no backend recognises a model of type builtins.int"):
        find_backend(3)
    with pytest.raises(ModelError, match="no backend recognises"):
        find_backend(type)


def test_verification_is_made_as_far_as_it_can_be():
    found = occluded(model, verify=True)
    assert found.check("plain_forward").passed
    assert not found.check("independent_check").is_measured


def test_attribute_gives_an_array():
    found = attribute(model, IMAGES, method="occlusion", patch=1, stride=1, target=Classes(2, 0))
    assert_allclose(found, ADDED[:, [2, 0]], atol=1e-12)


# ---- programs


def test_a_scripted_module_is_asked_as_the_module_it_came_from():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(24, 3))
    module = module.double().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        scripted = torch.jit.script(module)
    seen, asked = (occluded(each, verify=False) for each in (module, scripted))
    assert_allclose(asked.attribution, seen.attribution, atol=1e-12)
    with pytest.raises(ModelError, match=r"TorchScript module.*methods that only ask"):
        explain(scripted, IMAGES, method="gradient")


def test_a_scripted_module_in_training_mode_is_refused():
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(30, 3).double()))
    with pytest.raises(ModelError, match=r"is in training mode, which cannot be switched from here; call model.eval"):
        occluded(scripted)


def test_a_loaded_paddle_program_is_asked_as_the_layer_it_came_from(tmp_path):
    paddle = pytest.importorskip("paddle")
    paddle.seed(0)
    layer = paddle.nn.Sequential(
        paddle.nn.Conv2D(1, 2, 3), paddle.nn.ReLU(), paddle.nn.Flatten(), paddle.nn.Linear(24, 3)
    )
    layer.eval()
    images = IMAGES.astype(np.float32)
    seen = occluded(layer, images)
    spec = [paddle.static.InputSpec([None, 1, 6, 5], "float32")]
    paddle.jit.save(paddle.jit.to_static(layer, input_spec=spec, full_graph=True), str(tmp_path / "program"))
    loaded = paddle.jit.load(str(tmp_path / "program"))
    loaded.eval()
    asked = occluded(loaded, images)
    assert_allclose(asked.attribution, seen.attribution, atol=1e-5)
    with pytest.raises(ModelError, match=r"paddle\.jit\.load.*methods that only ask"):
        explain(loaded, images, method="gradient")


@pytest.mark.parametrize("batch", ["N", 3])
def test_an_onnx_session_is_asked(batch):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    matrix = onnx.numpy_helper.from_array(WEIGHTS.reshape(3, 30).T.astype(np.float32), "weights")
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["images"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("images", kind, [batch, 1, 6, 5])],
        [helper.make_tensor_value_info("logits", kind, [batch, 3])],
        [matrix],
    )
    program = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(program.SerializeToString(), providers=["CPUExecutionProvider"])
    found = occluded(session, IMAGES.astype(np.float32))
    assert_allclose(found.attribution, ADDED, atol=1e-5)
    assert found.backend == "callable"


def test_score_cam_takes_the_features_that_a_model_returns():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    first, head = torch.nn.Conv2d(1, 3, 3).double(), torch.nn.Linear(3, 2).double()
    module = torch.nn.Sequential(first, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), head).eval()
    seen = explain(module, IMAGES, method="score_cam", layer="1", target="all")

    def program(images):
        with torch.no_grad():
            return {"logits": module(torch.tensor(images)).numpy()}

    features = torch.relu(first(torch.tensor(IMAGES))).detach().numpy()
    asked = explain(program, IMAGES, method="score_cam", features=features, target="all")
    assert_allclose(asked.attribution, seen.attribution, atol=1e-12)
    assert asked.layer == "features that were given"
    native = explain(module, IMAGES, method="score_cam", features=torch.tensor(features), target="all")
    assert_allclose(native.attribution, seen.attribution, atol=1e-12)


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        (None, ModelError, r"layers cannot be seen; give features=, or use occlusion or rise"),
        (np.zeros((2, 3, 4)), ValueError, r"give floating-point \(N, C, \*space\) with N = 2 and 2 space axes"),
        (np.zeros((1, 3, 4, 4)), ValueError, "with N = 2"),
        (np.zeros((2, 3, 4, 4), int), ValueError, "features are int64"),
        (np.full((2, 3, 4, 4), np.nan), NonFiniteError, "the given features hold NaN"),
    ],
)
def test_features_that_cannot_be_used_are_refused(features, error, message):
    with pytest.raises(error, match=message):
        explain(model, IMAGES, method="score_cam", features=features, target="all")


def test_any_method_that_only_asks_explains_a_function():
    images = example_input(NETWORKS["vgg_like"](), 1)
    weights = np.random.default_rng(3).normal(size=(3, *images.shape[1:]))
    for method, settings in (
        ("rise", {"masks": 5, "cells": 2}),
        ("lime", {"parts": "tiles", "count": 4, "samples": 9}),
        ("kernel_shap", {"parts": "tiles", "count": 4}),
    ):
        found = explain(lambda x: np.einsum("ncij,kcij->nk", x, weights), images, method=method, **settings)
        assert found.maps.shape == (1, 1, *images.shape[2:])


# ---- what a hostile reader tried


def normalising(images):
    """Divides by the largest value of the whole batch: right for one image, and mixing for several."""
    return model(images / max(np.abs(images).max(), 1e-9))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("occlusion", {"patch": 2, "stride": 2}),
        ("rise", {"masks": 20, "cells": 2}),
        ("lime", {"parts": "tiles", "count": 6, "samples": 20}),
        ("kernel_shap", {"parts": "tiles", "count": 6}),
    ],
)
def test_statistics_of_the_batch_inside_a_function_do_not_reach_the_map(method, settings, count):
    images = IMAGES[:count].copy()
    images[0, 0, 2, 2] = 20
    one_by_one = np.concatenate(
        [explain(normalising, image[None], method=method, target="all", batch_size=1, **settings).attribution
         for image in images]
    )  # fmt: skip
    found = explain(normalising, images, method=method, target="all", **settings)
    assert_allclose(found.attribution, one_by_one, atol=1e-12)
    asked = explain(normalising, images, method=method, target="all", batch_size=32, **settings)
    assert_allclose(asked.attribution, one_by_one, atol=1e-12)  # it is noticed even where many at once are asked for


def test_mixing_is_noticed_where_the_clean_images_do_not_show_it():
    images = IMAGES / np.abs(IMAGES).max(axis=(1, 2, 3), keepdims=True)  # one largest value for all
    apart = occluded(normalising, images, patch=2, stride=2).attribution
    for batch_size in (2, 32):
        asked = occluded(normalising, images, patch=2, stride=2, batch_size=batch_size)
        assert_allclose(asked.attribution, apart, atol=1e-12)
        assert "depend on the others in a batch" in asked.check("one_by_one").note


def test_logits_of_a_changed_image_between_zero_and_one_are_no_probabilities():
    def logits(images):
        return 5 * model(images) * (images != 0).all(axis=(1, 2, 3))[:, None]  # zero wherever anything is hidden

    assert occluded(logits, activation="softmax").probabilities is not None


def test_probabilities_are_not_squashed_again():
    def softmax(images):
        powers = np.exp(model(images))
        return powers / powers.sum(axis=1, keepdims=True)

    with pytest.raises(OutputError, match="may be probabilities already"):
        occluded(softmax, activation="softmax")
    found = occluded(softmax)
    assert_allclose(found.scores, softmax(IMAGES))
    assert found.probabilities is None


def test_the_sign_of_a_probability_is_no_answer():
    def sigmoid(images):
        return 1 / (1 + np.exp(-model(images)[:, :1]))

    with pytest.raises(TargetError, match="its sign does not tell the predicted answer"):
        occluded(sigmoid, target="predicted")
    assert occluded(sigmoid, target="positive").maps.any()


def test_buffers_that_a_scripted_module_writes_are_restored():
    torch = pytest.importorskip("torch")

    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(1))
            self.head = torch.nn.Linear(30, 3)

        def forward(self, x):
            self.count += 1
            return self.head(x.flatten(1))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(Counting().double().eval())
    occluded(scripted)
    assert scripted.count.item() == 0


def test_a_score_that_never_changes_gives_a_map_of_zeros():
    def constant(images):
        return np.full((len(images), 2), 0.1)

    for method, settings in (("rise", {"masks": 50, "cells": 2}), ("lime", {"parts": "tiles", "count": 4})):
        assert not explain(constant, IMAGES, method=method, target=0, **settings).maps.any()
