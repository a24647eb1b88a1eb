"""Whatever the input and target: right, or refused in words."""

import numpy as np
import pytest

import xai_med
from xai_med import Classes, Contrast, Mask, Probability, attribute, explain
from xai_med.blueprints.blueprint import INPUT, Blueprint, Step
from xai_med.errors import (
    DtypeError,
    LayerError,
    NonFiniteError,
    OutputError,
    SettingError,
    ShapeError,
    TargetError,
    UnknownNameError,
    XaiMedError,
)
from xai_med.maps.normalise import divide_by_absolute_max
from xai_med.testing import oracle
from xai_med.testing.networks import NETWORKS, example_input

METHODS = ("cam", "grad_cam", "gradient", "lrp", "clear")
COMPARED = dict.fromkeys(METHODS, "predicted") | {"clear": "all"}


def network(backend, name="vgg_like", *, count=2):
    """Build a network and draw images for it."""
    blueprint = NETWORKS[name]()
    return backend.build(blueprint), backend.tensor(example_input(blueprint, count))


def pointwise(space, weight, *, kernel=1, stride=1):
    """Channels as they are, a ReLU, perhaps an average pool, GAP, and a linear layer (K, C) without bias."""
    channels = np.shape(weight)[1]
    identity = np.eye(channels).reshape(channels, channels, *(1,) * len(space))
    pooled = Step("small", "average_pool", ("relu",), {}, {"kernel": kernel, "stride": stride, "padding": 0})
    steps = (
        Step("conv", "convolution", (INPUT,), {"weight": identity}),
        Step("relu", "relu", ("conv",)),
        *((pooled,) if kernel > 1 else ()),
        Step("pool", "global_average_pool", ("small" if kernel > 1 else "relu",)),
        Step("flat", "flatten", ("pool",)),
        Step("classifier", "linear", ("flat",), {"weight": np.asarray(weight, dtype=np.float64)}),
    )
    return Blueprint("pointwise", (channels, *space), steps)


def with_output(model, change):
    """Let a model return something else."""
    original = model.forward
    model.forward = lambda x: change(original(x))
    return model


# ---- space


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", [(0, 11), (6, 2), (3, 5)])
def test_a_hot_pixel_stays_where_it_is_in_an_image_that_is_not_square(backend, method, place):
    model = backend.build(pointwise((7, 13), [[1.0], [0.5]]))
    image = np.zeros((1, 1, 7, 13), np.float32)
    image[0, 0][place] = 2.0
    maps = explain(model, backend.tensor(image), method=method, target=Classes(0, 1)).maps[0, 0]
    assert maps.shape == (7, 13)
    assert np.unravel_index(maps.argmax(), maps.shape) == place
    assert maps.argmax() == maps.nonzero()[0][0] * 13 + maps.nonzero()[1][0]
    assert np.count_nonzero(maps) == 1


@pytest.mark.parametrize("method", ["cam", "grad_cam"])
@pytest.mark.parametrize("place", [(8, 12), (12, 20), (16, 8)])
def test_an_enlarged_map_keeps_its_centre_of_mass(backend, method, place):
    model = backend.build(pointwise((24, 32), [[1.0], [0.5]], kernel=4, stride=4))
    image = np.zeros((1, 1, 24, 32), np.float32)
    image[0, 0, place[0] : place[0] + 4, place[1] : place[1] + 4] = 1.0
    maps = explain(model, backend.tensor(image), method=method, target=0).maps[0, 0]
    centre = [(maps.sum(axis=1 - axis) * np.arange(maps.shape[axis])).sum() / maps.sum() for axis in (0, 1)]
    np.testing.assert_allclose(centre, np.add(place, 1.5), atol=0.5)  # a cell has 4 pixels; half a cell is allowed


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["vgg_like", "grouped", "resnet_like", "signal", "volume"])
def test_odd_sizes_and_strides_give_maps_of_the_images_size(backend, method, name):
    model, x = network(backend, name)
    result = explain(model, x, method=method, target=0)
    assert result.maps.shape == (2, 1, *x.shape[2:])
    assert np.isfinite(result.maps).all()
    assert result.maps.dtype == np.float32


@pytest.mark.parametrize("method", METHODS)
def test_a_feature_map_of_one_cell_gives_a_finite_map(backend, method):
    blueprint = pointwise((3, 4), [[1.0], [-0.5]])
    conv = Step("conv", "convolution", (INPUT,), {"weight": np.arange(12.0).reshape(1, 1, 3, 4)})
    model = backend.build(Blueprint("one_cell", (1, 3, 4), (conv, *blueprint.steps[1:])))
    x = backend.tensor(np.ones((1, 1, 3, 4), np.float32))
    maps = explain(model, x, method=method, target=Classes(0, 1)).maps
    assert np.isfinite(maps).all()
    if "cam" in method:
        np.testing.assert_allclose(maps[0, 0], 66.0)


@pytest.mark.parametrize("method", ["gradient", "lrp", "clear"])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_attribution_stays_in_its_channel(backend, method, channel):
    weight = np.zeros((2, 3))
    weight[:, channel] = (1.0, 0.5)
    model = backend.build(pointwise((4, 6), weight))
    x = backend.tensor(np.abs(np.random.default_rng(1).normal(size=(1, 3, 4, 6))).astype(np.float32))
    values = np.asarray(attribute(model, x, method=method, target=0).numpy())
    assert values.shape == (1, 1, 3, 4, 6)
    assert (values[0, 0, channel] > 0).all()
    assert not np.delete(values[0, 0], channel, axis=0).any()


# ---- images that are refused


@pytest.mark.parametrize("method", ["cam", "lrp"])
@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda x: x[0], ShapeError, r"images must come as \(N, C, \*space\): add the batch axis with x\[None\]"),
        (lambda x: x[0, 0], ShapeError, r"got shape \(11, 9\); add the batch and channel axes with x\[None, None\]"),
        (lambda x: x[:0], ShapeError, r"the batch is empty: shape \(0, 3, 11, 9\)"),
        (lambda x: x[..., :0], ShapeError, r"the batch is empty: shape \(2, 3, 11, 0\)"),
        (lambda x: x[None, None], ShapeError, r"one, two or three space axes, got shape \(1, 1, 2, 3, 11, 9\)"),
        (lambda x: (x * 50).astype(np.uint8), DtypeError, r"floating point, got .*uint8; .*astype\('float32'\) / 255"),
        (lambda x: x > 0, DtypeError, "floating point, got .*bool"),
        (lambda x: x.astype(np.complex64), DtypeError, "floating point, got .*complex"),
    ],
    ids=["no batch axis", "no channel axis", "empty batch", "empty space", "six axes", "uint8", "bool", "complex"],
)
@pytest.mark.parametrize("kind", ["native", "numpy"])
def test_images_of_the_wrong_kind_are_refused(backend, method, kind, spoil, error, message):
    blueprint = NETWORKS["vgg_like"]()
    images = spoil(example_input(blueprint))
    with pytest.raises(error, match=message):
        explain(backend.build(blueprint), backend.tensor(images) if kind == "native" else images, method=method)


@pytest.mark.parametrize("x", [None, "image.png", [[1.0, 2.0]], 3.0])
def test_what_is_not_an_array_is_refused(backend, x):
    model, _ = network(backend)
    with pytest.raises(XaiMedError, match=f"tensor or a NumPy array, got {type(x).__name__}"):
        explain(model, x)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_bad_pixel_is_refused_and_its_image_is_named(backend, method, value):
    model, x = network(backend, count=3)
    images = np.array(x.numpy())
    images[1, 2, 4, 5] = value
    for given in (images, backend.tensor(images)):
        with pytest.raises(NonFiniteError, match=r"1 NaN or infinite values \(in image 1\)"):
            explain(model, given, method=method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_bad_weight_is_refused_and_named(backend, method, value):
    blueprint = NETWORKS["vgg_like"]()
    steps = list(blueprint.steps)
    position = next(index for index, step in enumerate(steps) if step.name == "conv2")
    weight = np.array(steps[position].arrays["weight"])
    weight[1, 2, 0, 1] = value
    arrays = {**steps[position].arrays, "weight": weight}
    steps[position] = Step("conv2", "convolution", steps[position].inputs, arrays, steps[position].options)
    model = backend.build(Blueprint("bad", blueprint.input_shape, tuple(steps)))
    with pytest.raises(NonFiniteError, match=r"conv2\.weight holds NaN or infinite values"):
        explain(model, example_input(blueprint), method=method)


@pytest.mark.parametrize("method", METHODS)
def test_an_output_that_overflows_is_refused(backend, method):
    model = backend.build(pointwise((4, 5), [[3e38], [1.0]]))
    with pytest.raises(NonFiniteError, match="the model's output holds 1 NaN or infinite values"):
        explain(model, np.full((1, 1, 4, 5), 10.0, np.float32), method=method, target=Classes(0, 1))


@pytest.mark.parametrize("method", METHODS)
def test_an_array_gives_the_map_of_the_tensor(backend, method):
    model, x = network(backend)
    result = explain(model, np.array(x.numpy()), method=method)
    np.testing.assert_array_equal(result.maps, explain(model, x, method=method).maps)
    wide = explain(model, np.array(x.numpy()).astype(np.float64), method=method)
    np.testing.assert_array_equal(result.maps, wide.maps)


# ---- maps of little or no evidence


@pytest.mark.parametrize("method", ["cam", "grad_cam", "lrp", "clear"])
@pytest.mark.parametrize("name", ["bias_free_resnet", "bias_free_densenet"])
def test_a_black_image_gives_a_zero_map_without_biases(backend, method, name):
    model, x = network(backend, name)
    result = explain(model, x * 0, method=method, target=Classes(0, 1))
    assert not result.maps.any()
    assert {check.name: check.value for check in result.checks}["maps that are zero everywhere"] == 4


@pytest.mark.parametrize("method", ["grad_cam", "clear"])
def test_negative_evidence_alone_gives_a_zero_map(backend, method):
    model = backend.build(pointwise((4, 5), [[-1.0], [-2.0]]))
    result = explain(model, np.ones((1, 1, 4, 5), np.float32), method=method, target=Classes(0, 1))
    assert not result.maps.any()
    assert divide_by_absolute_max(result.maps, 2).constant.all()


def test_negative_evidence_is_signed_in_a_cam(backend):
    model = backend.build(pointwise((4, 5), [[-1.0], [-2.0]]))
    result = explain(model, np.ones((1, 1, 4, 5), np.float32), target=0)
    np.testing.assert_allclose(result.maps, -1.0)


@pytest.mark.parametrize("method", METHODS)
def test_tiny_logits_give_the_same_normalised_map(backend, method):
    blueprint = NETWORKS["vgg_like"]()
    *body, head = blueprint.steps
    scaled = {name: np.asarray(array) * 2.0**-33 for name, array in head.arrays.items()}
    tiny = Blueprint("tiny", blueprint.input_shape, (*body, Step(head.name, head.operation, head.inputs, scaled)))
    x = example_input(blueprint)
    settings = {"epsilon": 1e-20} if method == "lrp" else {}
    maps = [explain(backend.build(b), x, method=method, target=1, **settings).maps for b in (blueprint, tiny)]
    first, second = (divide_by_absolute_max(each, 2) for each in maps)
    np.testing.assert_array_equal(first.constant, second.constant)
    np.testing.assert_allclose(second.values, first.values, atol=1e-5)


def test_lrp_says_that_epsilon_absorbs_a_tiny_logit(backend):
    blueprint = pointwise((4, 5), [[1e-10], [2e-10]])
    result = explain(backend.build(blueprint), np.ones((1, 1, 4, 5), np.float32), method="lrp", target=0)
    check = next(check for check in result.checks if check.name == "lost share of relevance")
    assert check.value > 0.9
    assert "the stabiliser 1e-06 itself absorbs part of it" in check.note


# ---- targets


@pytest.mark.parametrize("method", ["cam", "gradient"])
@pytest.mark.parametrize(
    ("target", "message"),
    [
        (3, r"class 3 was asked for, the model has 3 outputs \(0\.\.2\); use target=2 for the last"),
        (10**6, "class 1000000 was asked for"),
        (-1, "class -1 was asked for; indices count from 0, so the last class is 2"),
        ([0, -3], "class -3 was asked for"),
        (1.5, "got 1.5 of dtype float64"),
        (1.0, "got 1.0 of dtype float64"),
        ([0, 1.5], "got 1.5 of dtype float64"),
        (True, "got the boolean True; write 0 or 1"),
        (np.bool_(False), "got the boolean False; write 0 or 1"),
        ([True, False], "got the boolean True"),
        (np.array([True, False]), "dtype bool"),
        (np.array([0.0, 1.0]), "dtype float64"),
        ([0, 1, 2], "3 targets were given for a batch of 2 images; give one per image, or Classes"),
        ([0], "1 targets were given for a batch of 2 images"),
        (np.zeros((3, 2), int), "3 targets were given for a batch of 2 images"),
        (np.zeros((2, 2, 2), int), r"has shape \(N,\) or \(N, K\), got \(2, 2, 2\)"),
        (np.zeros(0, int), r"got \(0,\)"),
        ([], "the sequence is empty"),
        ([[0, 1], [2]], "every image needs the same number of classes"),
        ([[[0]], [[1]]], r"one class index or name was expected, got \[0\]"),
        (Classes([0, 1]), r"one class index or name was expected, got \[0, 1\]; several classes are written Classes"),
        ("edema", "'edema' was asked for by name; give class_names="),
        ("positive", "are for models with one logit, this one has 3"),
        ("negative", "are for models with one logit, this one has 3"),
        (Contrast(1, 1), "a contrast needs two different classes, got 1 twice"),
        (Contrast(1, 7), "class 7 was asked for"),
        (Mask(0, np.ones((3, 3))), "a mask needs a dense output"),
        ({"class": 1}, "a target is a class index or name"),
        (object(), "a target is a class index or name"),
        (Classes(0, True), "got the boolean True"),
        (Classes(None), "a target is a class index or name"),
    ],
)
def test_a_target_that_does_not_exist_is_refused(backend, method, target, message):
    model, x = network(backend)
    with pytest.raises(TargetError, match=message):
        explain(model, x, method=method, target=target)


def test_classes_needs_a_class():
    with pytest.raises(TargetError, match="needs at least one class"):
        Classes()
    with pytest.raises(TargetError, match="needs at least one class"):
        Probability()


@pytest.mark.parametrize("method", ["cam", "lrp"])
@pytest.mark.parametrize(
    "target",
    [
        np.int64(2),
        np.uint8(2),
        np.array(2),
        [2, 2],
        (2, 2),
        [np.int64(2), 2],
        np.array([2, 2]),
        np.array([[2], [2]]),
        Classes(2),
        Classes(np.int64(2)),
        "mass",
        ["mass", 2],
        Classes("mass"),
    ],
)
def test_all_ways_to_name_a_class_give_its_map(backend, method, target):
    model, x = network(backend)
    names = ("edema", "nodule", "mass")
    expected = explain(model, x, method=method, target=2, class_names=names)
    result = explain(model, x, method=method, target=target, class_names=names)
    np.testing.assert_array_equal(result.maps, expected.maps)
    assert result.targets == expected.targets == (("mass",), ("mass",))
    assert result.class_indices.tolist() == [[2], [2]]


@pytest.mark.parametrize("method", METHODS)
def test_native_tensors_are_targets_too(backend, method):
    model, x = network(backend)
    for array in (np.array(1), np.array([1, 1])):
        result = explain(model, x, method=method, target=backend.tensor(array))
        np.testing.assert_array_equal(result.maps, explain(model, x, method=method, target=1).maps)


def test_unknown_names_and_wrong_numbers_of_names_are_refused(backend):
    model, x = network(backend)
    with pytest.raises(TargetError, match="there is no class 'heart'; the classes are a, b, c"):
        explain(model, x, target="heart", class_names="a b c".split())
    with pytest.raises(SettingError, match="2 class names were given, the model has 3 outputs"):
        explain(model, x, target=0, class_names=["a", "b"])
    with pytest.raises(SettingError, match="a sequence of names, got one string"):
        explain(model, x, target=0, class_names="abc")
    with pytest.raises(TargetError, match="2 classes are called 'a'; give the index of the one you mean"):
        explain(model, x, target="a", class_names=["a", "a", "b"])


@pytest.mark.parametrize("method", METHODS)
def test_a_target_for_each_image_equals_one_by_one(backend, method):
    model, x = network(backend, count=3)
    together = explain(model, x, method=method, target=[2, 0, 1])
    assert together.class_indices.tolist() == [[2], [0], [1]]
    for position, target in enumerate((2, 0, 1)):
        alone = explain(model, x[position : position + 1], method=method, target=target)
        np.testing.assert_allclose(together.maps[position], alone.maps[0], atol=1e-5 * np.ptp(alone.maps))


@pytest.mark.parametrize("method", METHODS)
def test_several_targets_for_each_image_equal_one_by_one(backend, method):
    model, x = network(backend, count=2)
    together = explain(model, x, method=method, target=np.array([[2, 0], [1, 2]]))
    for position, targets in enumerate(((2, 0), (1, 2))):
        for k, target in enumerate(targets):
            alone = explain(model, x[position : position + 1], method=method, target=target)
            np.testing.assert_allclose(together.maps[position, k], alone.maps[0, 0], atol=1e-5 * np.ptp(alone.maps))


@pytest.mark.parametrize("method", METHODS)
def test_the_predicted_class_is_each_images_own(backend, method):
    blueprint = NETWORKS["resnet_like"]()
    images = 3 * example_input(blueprint, 6, seed=4)
    predicted = oracle.forward(blueprint, images)["classifier"].argmax(axis=1)
    assert len(set(predicted)) > 1
    model = backend.build(blueprint)
    result = explain(model, images, method=method, target="predicted")
    assert result.class_indices[:, 0].tolist() == predicted.tolist()
    named = explain(model, images, method=method, target=predicted)
    np.testing.assert_array_equal(result.maps, named.maps)


@pytest.mark.parametrize("method", METHODS)
def test_all_means_every_class_in_order(backend, method):
    model, x = network(backend)
    result = explain(model, x, method=method, target="all")
    assert result.class_indices.tolist() == [[0, 1, 2]] * 2
    for target in range(3):
        alone = explain(model, x, method=method, target=target)
        np.testing.assert_allclose(result.maps[:, target], alone.maps[:, 0], atol=1e-6 * np.ptp(alone.maps))


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_the_logits_of_the_oracle(backend, method):
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint)
    logits = oracle.forward(blueprint, images)["classifier"]
    result = explain(backend.build(blueprint), images, method=method, target="all")
    np.testing.assert_allclose(result.scores, logits, atol=1e-5 * np.ptp(logits))


# ---- one logit


@pytest.mark.parametrize("method", METHODS)
def test_a_single_logit_has_a_positive_and_a_negative_answer(backend, method):
    model, x = network(backend, "single_logit")
    signed = {"gradient": {"read_out": "signed_sum"}, "grad_cam": {"relu": False}, "clear": {"psi": "id"}}
    settings = signed.get(method, {}) | ({"response": "signed"} if method == "clear" else {})
    positive, negative = (explain(model, x, method=method, target=t, **settings) for t in ("positive", "negative"))
    assert positive.maps.any()
    if method == "clear":  # pulls back a squared quantity, the same for both answers
        np.testing.assert_allclose(negative.maps, positive.maps, rtol=1e-5)
    else:
        np.testing.assert_allclose(negative.maps, -positive.maps, rtol=1e-5)
    np.testing.assert_allclose(negative.scores, -positive.scores)
    assert positive.class_indices.tolist() == [[0], [0]]
    assert negative.class_indices.tolist() == [[-1], [-1]]
    np.testing.assert_array_equal(explain(model, x, method=method, target=0, **settings).maps, positive.maps)


@pytest.mark.parametrize("method", METHODS)
def test_a_single_logit_has_no_class_1(backend, method):
    model, x = network(backend, "single_logit")
    with pytest.raises(TargetError, match=r"has 1 output .*takes target='positive' or 'negative'"):
        explain(model, x, method=method, target=1)


@pytest.mark.parametrize("method", ["cam", "grad_cam", "gradient", "lrp"])
def test_the_prediction_of_a_single_logit_is_its_sign(backend, method):
    blueprint = pointwise((4, 5), [[1.0, -1.0]])
    images = example_input(blueprint, 8)
    logits = oracle.forward(blueprint, images)["classifier"][:, 0]
    assert (logits > 0).any()
    assert (logits < 0).any()
    result = explain(backend.build(blueprint), images, method=method)
    assert [row[0] for row in result.targets] == ["positive" if value >= 0 else "negative" for value in logits]
    np.testing.assert_allclose(result.scores[:, 0], np.abs(logits), rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_without_a_class_axis_is_a_single_logit(backend, method):
    model, x = network(backend, "single_logit")
    expected = explain(model, x, method=method, target=0)
    model = with_output(model, lambda logits: logits.squeeze(1))
    result = explain(model, x, method=method, target=0)
    np.testing.assert_allclose(result.maps, expected.maps, rtol=1e-6)
    with pytest.raises(TargetError, match="class 1 was asked for, the model has 1 output "):
        explain(model, x, method=method, target=1)


@pytest.mark.parametrize("method", METHODS)
def test_one_number_for_the_whole_batch_is_refused(backend, method):
    model, x = network(backend)
    with pytest.raises(OutputError, match="a single number for the whole batch; it must return one row per image"):
        explain(with_output(model, lambda logits: logits.sum()), x, method=method)


@pytest.mark.parametrize("method", METHODS)
def test_fewer_rows_than_images_are_refused(backend, method):
    model, x = network(backend, count=4)
    with pytest.raises(OutputError, match="the model returned 2 rows for 4 images; it must return one row per image"):
        explain(with_output(model, lambda logits: logits[:2]), x, method=method, target=0)


# ---- other questions


def contrasted(blueprint, images, this, other):
    coefficients = np.zeros((len(images), 3))
    coefficients[:, this], coefficients[:, other] = 1, -1
    return oracle.vector_jacobian(blueprint, images, of="classifier", cotangent=coefficients)


def test_a_contrast_is_the_difference_of_logits(backend):
    blueprint = NETWORKS["vgg_like"]()
    model, images = backend.build(blueprint, dtype="float64"), example_input(blueprint)
    result = explain(model, images, method="gradient", target=Contrast(2, 0))
    expected = contrasted(blueprint, images, 2, 0)
    np.testing.assert_allclose(result.attribution[:, 0], expected, atol=1e-10)
    logits = oracle.forward(blueprint, images)["classifier"]
    np.testing.assert_allclose(result.scores[:, 0], logits[:, 2] - logits[:, 0], rtol=1e-10)
    assert result.targets[0] == ("class 2 rather than class 0",)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_probability_is_differentiated_through_its_activation(backend, activation):
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint)
    logits = oracle.forward(blueprint, images)["classifier"]
    if activation == "sigmoid":
        p = 1 / (1 + np.exp(-logits))
        slope = np.eye(3)[1] * p * (1 - p)
    else:
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        slope = p[:, 1:2] * (np.eye(3)[1] - p)
    model = backend.build(blueprint, dtype="float64")
    result = explain(model, images, method="gradient", target=Probability(1), activation=activation)
    expected = oracle.vector_jacobian(blueprint, images, of="classifier", cotangent=slope)
    np.testing.assert_allclose(result.attribution[:, 0], expected, atol=1e-10)
    np.testing.assert_allclose(result.scores[:, 0], p[:, 1], rtol=1e-10)


def test_a_probability_needs_an_activation(backend):
    model, x = network(backend)
    with pytest.raises(TargetError, match="not known how the model turns logits into probabilities; give activation="):
        explain(model, x, method="gradient", target=Probability(1))


@pytest.mark.parametrize("method", ["cam", "lrp", "clear"])
def test_a_target_that_is_not_linear_is_refused_by_methods_of_logits(backend, method):
    model, x = network(backend)
    with pytest.raises(XaiMedError, match=f"{method} explains a logit or a difference of logits"):
        explain(model, x, method=method, target=lambda output: output[:, 0] ** 2)


def test_a_function_of_the_output_is_differentiated(backend):
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint)
    logits = oracle.forward(blueprint, images)["classifier"]
    model = backend.build(blueprint, dtype="float64")
    result = explain(model, images, method="gradient", target=lambda output: output[:, 0] * output[:, 1])
    cotangent = np.stack([logits[:, 1], logits[:, 0], 0 * logits[:, 0]], axis=1)
    expected = oracle.vector_jacobian(blueprint, images, of="classifier", cotangent=cotangent)
    np.testing.assert_allclose(result.attribution[:, 0], expected, atol=1e-10)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda output: output.sum(), r"one score per image, of shape \(2,\) or \(2, K\), got \(\)"),
        (lambda output: output[:1, 0], r"got \(1,\)"),
        (lambda output: output[:, :, None], r"got \(2, 3, 1\)"),
        (lambda output: output.detach().numpy()[:, 0], "must return a tensor of the model's framework, got ndarray"),
        (lambda output: 1.0, "got float"),
        (lambda output: output[:, 0] * float("nan"), "the target's score is NaN or infinite"),
    ],
    ids=["scalar", "one row", "three axes", "array", "number", "nan"],
)
def test_a_function_of_the_output_must_give_one_score_per_image(backend, function, message):
    model, x = network(backend)
    with pytest.raises(TargetError, match=message):
        explain(model, x, method="gradient", target=function)


def test_a_function_that_ignores_the_output_is_refused(backend):
    model, x = network(backend)
    with pytest.raises(XaiMedError, match="does not depend on"):
        explain(model, x, method="gradient", target=lambda output: output[:, 0].detach())


# ---- dense outputs


def dense():
    """Two convolutions: one logit per pixel and class."""
    blueprint = NETWORKS["class_kernels"]()
    steps = {step.name: step for step in blueprint.steps}
    return Blueprint("dense", blueprint.input_shape, tuple(steps[n] for n in ("conv1", "relu1", "pool1", "classes")))


def test_a_mask_sums_a_class_of_a_dense_output(backend):
    blueprint = dense()
    images = example_input(blueprint)
    shape = oracle.forward(blueprint, images)["classes"].shape
    mask = np.zeros(shape[2:])
    mask[1:3, 2] = 1
    cotangent = np.zeros(shape)
    cotangent[:, 3] = mask
    model = backend.build(blueprint, dtype="float64")
    result = explain(model, images, method="gradient", target=Mask(3, mask.astype(bool)))
    expected = oracle.vector_jacobian(blueprint, images, of="classes", cotangent=cotangent)
    np.testing.assert_allclose(result.attribution[:, 0], expected, atol=1e-10)
    assert result.targets[0] == ("class 3 in mask",)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (0, "one value per pixel, where a class is not one score per image; give Mask"),
        ("predicted", "where the predicted class is not one score per image; give Mask"),
        ("all", "one value per pixel"),
        (Contrast(0, 1), "one value per pixel, where a contrast"),
        (Mask(0, np.ones((2, 2))), r"the mask has shape \(2, 2\), the output's space is \(4, 4\)"),
        (Mask(0, np.zeros((4, 4))), "the mask is empty"),
        (Mask(9, np.ones((4, 4))), "class 9 was asked for"),
        (Mask(0, np.full((4, 4), np.nan)), "the mask holds NaN or infinite weights"),
    ],
)
@pytest.mark.parametrize("method", ["gradient", "grad_cam"])
def test_a_dense_output_is_asked_with_a_mask(backend, method, target, message):
    blueprint = dense()
    layer = "conv1" if method == "grad_cam" else None
    with pytest.raises(TargetError, match=message):
        explain(backend.build(blueprint), example_input(blueprint), method=method, target=target, layer=layer)


# ---- layers, settings, names


@pytest.mark.parametrize("method", ["cam", "grad_cam"])
def test_a_layer_of_another_model_is_refused(backend, method):
    model, x = network(backend)
    other, _ = network(backend)
    with pytest.raises(LayerError, match="is not part of this model; give one of its own modules, or a dotted name"):
        explain(model, x, method=method, layer=other.get_submodule("conv2"))
    with pytest.raises(LayerError, match=r"the model has no layer 'conv3'; did you mean 'conv\d'"):
        explain(model, x, method=method, layer="conv3")
    with pytest.raises(LayerError, match="is not part of this model"):
        explain(model, x, method=method, layer=3)


def test_a_module_names_a_layer_also_for_a_copy_in_another_precision(backend):
    model, x = network(backend)
    result = explain(model, x, method="grad_cam", layer=model.get_submodule("norm1"), dtype="float64")
    assert result.layer == "norm1"


@pytest.mark.parametrize("method", ["gradient", "lrp", "clear"])
def test_methods_at_the_input_refuse_a_layer(backend, method):
    model, x = network(backend)
    with pytest.raises(SettingError, match=f"{method} is taken at the input and has no layer; remove layer="):
        explain(model, x, method=method, layer="conv2")


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_setting_is_refused(backend, method):
    model, x = network(backend)
    with pytest.raises(SettingError, match=f"method '{method}' has no setting 'smooth'; it has "):
        explain(model, x, method=method, smooth=3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "gradcam"}, UnknownNameError, "there is no method 'gradcam'; did you mean grad_cam"),
        ({"method": 3}, UnknownNameError, "a method is named by a string, got int"),
        ({"backend": "tensorflow"}, UnknownNameError, "there is no backend 'tensorflow'"),
        ({"activation": "relu"}, SettingError, "activation is 'sigmoid' or 'softmax', got 'relu'"),
        ({"dtype": "float16"}, SettingError, "dtype is 'float32' or 'float64', got 'float16'"),
        ({"output": "logits"}, OutputError, "output='logits' does not exist in the model's"),
        ({"method": "gradient", "read_out": "mean"}, SettingError, "read_out='mean' is unknown; choose one of max_abs"),
        ({"method": "lrp", "composite": "alpha"}, SettingError, "composite='alpha' is unknown; choose one of epsilon"),
        ({"method": "lrp", "epsilon": -1}, SettingError, "epsilon must be a number of at least 0, got -1"),
        ({"method": "lrp", "epsilon": np.nan}, SettingError, "epsilon must be a number of at least 0, got nan"),
        ({"method": "clear", "relu": "none"}, SettingError, "relu='none' is unknown"),
        ({"method": "clear", "threshold": 1.0}, SettingError, "from 0 to below 1, got 1.0"),
    ],
)
def test_a_setting_that_does_not_exist_is_refused(backend, options, error, message):
    model, x = network(backend)
    with pytest.raises(error, match=message):
        explain(model, x, **options)


def test_an_object_that_is_no_model_is_refused():
    with pytest.raises(xai_med.XaiMedError, match=r"no backend recognises a model of type builtins\.function|method"):
        explain(lambda x: x, np.zeros((1, 1, 4, 4), np.float32))


@pytest.mark.parametrize("method", METHODS)
def test_compared_targets_are_the_default(backend, method):
    model, x = network(backend)
    default = explain(model, x, method=method)
    named = explain(model, x, method=method, target=COMPARED[method])
    np.testing.assert_array_equal(default.maps, named.maps)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_wrong_number_of_channels_is_refused(backend, channels):
    blueprint = NETWORKS["vgg_like"]()
    right = blueprint.input_shape[0]
    images = np.zeros((1, channels if channels != right else right + 1, *blueprint.input_shape[1:]), np.float32)
    with pytest.raises(ShapeError, match=rf"the images have {images.shape[1]} channels, .* reads {right}"):
        explain(backend.build(blueprint), images)
