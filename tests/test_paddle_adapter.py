"""PaddlePaddle's adapter: what it sees, what it leaves untouched, and agreement with the PyTorch adapter."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from xai_med.backend.operations import Kind
from xai_med.backend.start import AtInput, AtLayer, AtPool, Nowhere
from xai_med.errors import DtypeError, GradientError, ModelError, NonFiniteError, NotApplicableError, ShapeError
from xai_med.rules.composites import epsilon_plus
from xai_med.testing.networks import NETWORKS, example_input

paddle = pytest.importorskip("paddle", reason="paddle is not installed")

from paddle import nn  # noqa: E402
from paddle.nn import functional  # noqa: E402
from paddle.vision.models import densenet121, mobilenet_v3_small, resnet18, shufflenet_v2_x0_25  # noqa: E402

from xai_med_paddle import PaddleBackend  # noqa: E402
from xai_med_paddle.choke_points import choke_points  # noqa: E402

BACKEND = PaddleBackend()
TENSORS = BACKEND.tensors


@pytest.fixture(scope="module")
def image():
    return paddle.to_tensor(np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype("float32"))


@pytest.fixture(scope="module")
def resnet():
    model = resnet18(num_classes=3)
    model.eval()
    return model


def forward(model, x):
    with paddle.no_grad():
        return model(x).numpy()


def kinds(trace):
    # a split has a node for each part, numbered in a row
    calls = {node.index - node.output: node.kind for node in trace.node(trace.output).ancestors()}
    return Counter(calls.values())


def pulled_back(model, x, start, rules=None, column=0):
    with BACKEND.network(model).trace(x, start=start, rules=rules) as trace, trace.recording():
        score = trace.resolve(trace.output)[:, column].sum()
        (result,) = trace.pullback(score, [paddle.ones_like(score)], trace.captured)
        return result.numpy()


class BiasFreeCnn(nn.Layer):
    """Convolutions, a residual addition, two kinds of pool and a linear layer, none with a bias."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2D(2, 4, 3, padding=1, bias_attr=False)
        self.second = nn.Conv2D(4, 4, 3, padding=1, bias_attr=False)
        self.classifier = nn.Linear(4, 3, bias_attr=False)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.first(x)), 2)
        x = functional.relu(self.second(x)) + x
        return self.classifier(paddle.flatten(functional.adaptive_avg_pool2d(x, 1), 1))


@pytest.fixture
def cnn():
    return BACKEND.network(BiasFreeCnn()).as_dtype("float64")._model


@pytest.fixture
def small(rng):
    return paddle.to_tensor(rng.normal(size=(1, 2, 10, 9)))


# ---- what is seen


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (resnet18, {Kind.CONVOLUTION: 20, Kind.BATCH_NORM: 20, Kind.RELU: 17, Kind.ADD: 8}),
        (densenet121, {Kind.CONVOLUTION: 120, Kind.BATCH_NORM: 121, Kind.RELU: 121, Kind.CONCATENATE: 58}),
        (mobilenet_v3_small, {Kind.CONVOLUTION: 52, Kind.AVERAGE_POOL: 10, Kind.MULTIPLY: 9, Kind.LINEAR: 2}),
        (shufflenet_v2_x0_25, {Kind.CONVOLUTION: 56, Kind.PERMUTE: 16, Kind.ROUTING: 14}),
    ],
)
def test_every_operation_of_a_stock_model_is_seen_and_its_output_unchanged(make, expected, image):
    model = make(num_classes=3)
    model.eval()
    plain = forward(model, image)
    with BACKEND.network(model).trace(image, start=AtPool()) as trace:
        found = kinds(trace)
        np.testing.assert_array_equal(trace.output.numpy(), plain)
        assert trace.captured.shape[2:] == [2, 2]
    assert found[Kind.UNKNOWN] == 0
    assert {kind: found[kind] for kind in expected} == expected


def test_functions_that_the_model_imported_by_name_are_seen_beneath(rng, small):
    plain_conv, plain_pool, plain_linear = functional.conv2d, functional.avg_pool2d, functional.linear
    weight, bias = paddle.to_tensor(rng.normal(size=(4, 2, 3, 3))), paddle.to_tensor(rng.normal(size=4))
    head = paddle.to_tensor(rng.normal(size=(4, 3)))

    class Functional(nn.Layer):
        def forward(self, x):
            x = plain_pool(plain_conv(x, weight, bias), [8, 7])
            return plain_linear(x.flatten(1), head, paddle.zeros([3], dtype="float64"))

    with BACKEND.network(Functional()).trace(small, start=AtPool()) as trace:
        assert trace.captured.shape == [1, 4, 8, 7]
        assert kinds(trace)[Kind.LINEAR] == 1


def test_linear_weights_come_in_the_orientation_of_the_core(cnn, small):
    with BACKEND.network(cnn).trace(small, start=Nowhere()) as trace:
        details = trace.node(trace.output).details
        np.testing.assert_array_equal(details.weight.numpy(), cnn.classifier.weight.numpy().T)
        assert details.output_axis == 0


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: functional.adaptive_avg_pool2d(x, 1),
        lambda x: functional.avg_pool2d(x, [10, 9]),
        lambda x: functional.avg_pool2d(x, (10, 9), padding="VALID"),
        lambda x: x.mean([2, 3]),
        lambda x: paddle.mean(x, axis=(-2, -1), keepdim=True),
    ],
)
def test_a_global_average_pool_is_known_in_every_form(pool, small):
    class Pooled(nn.Layer):
        def forward(self, x):
            return pool(functional.relu(x)).flatten(1)

    with BACKEND.network(Pooled()).trace(small, start=AtPool()) as trace:
        assert trace.pooled is not None
        assert trace.captured.shape == [1, 2, 10, 9]


def test_a_padded_average_pool_is_not_global(small):
    class Padded(nn.Layer):
        def forward(self, x):
            return functional.avg_pool2d(functional.relu(x), [10, 9], padding=1).flatten(1)

    with BACKEND.network(Padded()).trace(small, start=AtPool()) as trace:
        assert trace.pooled is None


def test_item_assignment_and_operations_in_place_are_followed(small):
    class InPlace(nn.Layer):
        def forward(self, x):
            y = x * 1.0
            y[:, 0] = x[:, 1] * 2.0
            functional.relu_(y)
            return (y + x).sum([2, 3])

    model = InPlace()
    plain = forward(model, small)
    gradient = pulled_back(model, small, AtInput())  # of the first channel of the result
    np.testing.assert_array_equal(gradient[0, 0], np.ones((10, 9)))
    np.testing.assert_array_equal(gradient[0, 1], 2.0 * (small.numpy()[0, 1] > 0))
    np.testing.assert_array_equal(forward(model, small), plain)


def test_channels_last_operations_are_of_no_known_kind(small):
    class ChannelsLast(nn.Layer):
        def forward(self, x):
            return functional.adaptive_avg_pool2d(x.transpose([0, 2, 3, 1]), 1, data_format="NHWC").flatten(1)

    with BACKEND.network(ChannelsLast()).trace(small, start=Nowhere()) as trace:
        assert kinds(trace)[Kind.UNKNOWN] == 1


# ---- derivatives


def test_relevance_is_conserved_without_biases(cnn, small):
    relevance = pulled_back(cnn, small, AtInput(probed=True), epsilon_plus(epsilon=1e-9))
    np.testing.assert_allclose(relevance.sum(), forward(cnn, small)[0, 0], rtol=1e-6)


def test_gradients_begin_at_the_pool_and_at_a_layer(cnn, small):
    at_pool = pulled_back(cnn, small, AtPool())
    weights = cnn.classifier.weight.numpy()[:, 0]
    np.testing.assert_allclose(at_pool, np.broadcast_to(weights[None, :, None, None] / 20, (1, 4, 5, 4)), rtol=1e-14)
    at_layer = pulled_back(cnn, small, AtLayer(cnn.second, "second"))
    assert at_layer.shape == (1, 4, 5, 4)
    assert set(np.unique(at_layer != 0)) == {True, False}


def test_average_pools_have_derivatives_of_full_accuracy(small):
    class Pooled(nn.Layer):
        def forward(self, x):
            return (functional.avg_pool2d(x, 3, stride=2, padding=1) ** 2).sum([2, 3])

    gradient, step = pulled_back(Pooled(), small, AtInput()), 1e-3
    direction = np.random.default_rng(1).normal(size=small.shape)
    higher, lower = (forward(Pooled(), small + paddle.to_tensor(sign * step * direction))[0, 0] for sign in (1, -1))
    np.testing.assert_allclose((gradient * direction)[:, :1].sum(), (higher - lower) / (2 * step), rtol=1e-10)


def test_only_positive_cotangents_come_back_where_rectified():
    x = paddle.to_tensor([1.0, 2.0], stop_gradient=False)
    y = TENSORS.rectify_cotangent(x * 1.0)
    (gradient,) = paddle.grad([(y * paddle.to_tensor([3.0, -3.0])).sum()], [x])
    np.testing.assert_array_equal(gradient.numpy(), [3.0, 0.0])


def test_a_second_derivative_is_refused(cnn, small):
    with BACKEND.network(cnn).trace(small, start=AtInput()) as trace:
        score = trace.output[:, 0].sum()
        with pytest.raises(GradientError, match="leave out differentiable=True"):
            next(trace.pullback(score, [paddle.ones_like(score)], trace.captured, differentiable=True))


def test_numbers_beside_float64_tensors_keep_their_digits():
    x = paddle.to_tensor([1.0, -1.0], dtype="float64")
    np.testing.assert_array_equal(TENSORS.where(x > 0, x, 0.1).numpy(), [1.0, 0.1])
    np.testing.assert_array_equal(TENSORS.clip(x * 1e300, low=0.0).numpy(), [1e300, 0.0])


@pytest.mark.parametrize(
    "operation",
    [lambda x: x * 3, lambda x: x * x, lambda x: x / (x + 1), paddle.exp, lambda x: x.reshape([2, 2]), lambda x: x],
    ids="product square quotient exp reshape itself".split(),
)
def test_carried_values_are_exact_and_derivatives_those_of_the_surrogate(operation):
    x = paddle.to_tensor([[0.5, 1.0], [2.0, 3.0]], stop_gradient=False)
    values = paddle.to_tensor([[1e-9, -7.0], [3e8, 0.1]])
    carried = TENSORS.carry(operation(x), values)
    np.testing.assert_array_equal(carried.numpy(), values.numpy())
    cotangent = paddle.to_tensor([[1.0, -2.0], [3.0, 4.0]])
    found, expected = (paddle.grad(y, x, cotangent)[0].numpy() for y in (carried, operation(x)))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(x.numpy(), [[0.5, 1.0], [2.0, 3.0]])


def test_carried_values_have_memory_of_their_own_where_nothing_is_differentiated():
    values = paddle.to_tensor([1.0, 2.0])
    carried = TENSORS.carry(paddle.zeros([2]), values)
    carried.add_(paddle.ones([2]))
    np.testing.assert_array_equal(values.numpy(), [1.0, 2.0])


# ---- what stays as it is


def test_every_choke_point_is_put_back(resnet, image):
    with BACKEND.network(resnet).trace(image, start=Nowhere()):
        pass
    during: list[bool] = []
    before = {(id(owner), name): vars(owner)[name] for owner, name in choke_points()}

    class Failing(nn.Layer):
        def forward(self, x):
            during.extend(vars(owner)[name] is not before[id(owner), name] for owner, name in choke_points())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), BACKEND.network(Failing()).trace(image, start=Nowhere()):
        pass
    assert len(during) > 1000
    assert all(during)
    after = {(id(owner), name): vars(owner)[name] for owner, name in choke_points()}
    assert all(after[key] is value for key, value in before.items())
    assert not any(str(getattr(value, "__module__", "")).startswith("xai_med") for value in after.values())
    assert paddle.is_grad_enabled()


def test_the_model_and_its_state_are_unchanged(resnet, image):
    resnet.train()
    resnet.layer1.eval()
    x, batch = image.clone(), paddle.concat([image, image * 2])

    def state():
        return (
            [layer.training for layer in resnet.sublayers(include_self=True)],
            [parameter.stop_gradient for parameter in resnet.parameters()],
            [parameter.grad is None for parameter in resnet.parameters()],
            [parameter.numpy().tobytes() for parameter in resnet.parameters()],
        )

    before = state()
    try:
        for start, rules in ((AtPool(), None), (AtInput(probed=True), epsilon_plus())):
            pulled_back(resnet, batch, start, rules)
        assert state() == before
    finally:
        resnet.eval()
    np.testing.assert_array_equal(image.numpy(), x.numpy())


def test_statistics_of_the_batch_are_not_updated_by_an_explanation(small):
    class Coupled(nn.Layer):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", paddle.zeros([2], dtype="float64"))
            self.register_buffer("variance", paddle.ones([2], dtype="float64"))

        def forward(self, x):
            return functional.batch_norm(x, self.mean, self.variance, training=True).sum([2, 3])

    model = Coupled()
    with BACKEND.network(model).trace(small, start=Nowhere()):
        np.testing.assert_array_equal(model.mean.numpy(), [0.0, 0.0])
    with (
        pytest.raises(NotApplicableError, match="one image at a time"),
        BACKEND.network(model).trace(paddle.concat([small, small]), start=Nowhere()),
    ):
        pass


def test_another_thread_gets_its_plain_result_during_a_trace(resnet, image):
    plain, found = forward(resnet, image), []

    class Waiting(nn.Layer):
        def forward(self, x):
            thread = threading.Thread(target=lambda: found.append(forward(resnet, image)))
            thread.start()
            thread.join()
            return functional.relu(x)

    with BACKEND.network(Waiting()).trace(image, start=Nowhere()) as trace:
        assert trace.node(trace.output).index == 1  # nothing but the model's own operation was counted
    np.testing.assert_array_equal(found[0], plain)


@pytest.mark.parametrize("rules", [None, epsilon_plus()])
def test_four_threads_get_the_serial_results(resnet, image, rules):
    images = [image * factor for factor in (0.5, 1.0, -1.0, 2.0)]
    start = AtInput(probed=rules is not None)
    serial = [pulled_back(resnet, x, start, rules) for x in images]
    resnet.train()
    try:
        with ThreadPoolExecutor(4) as pool:
            threaded = list(pool.map(lambda x: pulled_back(resnet, x, start, rules), images))
        assert all(layer.training for layer in resnet.sublayers(include_self=True))
    finally:
        resnet.eval()
    for one, other in zip(serial, threaded, strict=True):
        np.testing.assert_array_equal(one, other)


# ---- what is refused


def test_an_image_without_batch_axis_is_refused(resnet, image):
    with (
        pytest.raises(ShapeError, match="add the batch axis"),
        BACKEND.network(resnet).trace(image[0], start=Nowhere()),
    ):
        pass


def test_active_dropout_is_refused(small):
    class Noisy(nn.Layer):
        def forward(self, x):
            return functional.dropout(x, 0.5, training=True)

    with (
        pytest.raises(NotApplicableError, match="dropout in module Noisy is random"),
        BACKEND.network(Noisy()).trace(small, start=Nowhere()),
    ):
        pass


def test_weights_that_are_not_finite_are_named():
    model = BiasFreeCnn()
    model.second.weight.set_value(paddle.full([4, 4, 3, 3], float("nan")))
    with pytest.raises(NonFiniteError, match=r"second\.weight holds NaN"):
        BACKEND.network(model).check()


def test_a_compiled_model_is_refused_with_advice():
    model = paddle.jit.to_static(BiasFreeCnn(), full_graph=True)
    with pytest.raises(ModelError, match="rollback"):
        BACKEND.network(model).check()


def test_a_loaded_program_is_refused_with_advice(tmp_path):
    model = BiasFreeCnn()
    model.eval()
    spec = [paddle.static.InputSpec([None, 2, 10, 9], "float32")]
    paddle.jit.save(model, str(tmp_path / "model"), input_spec=spec)
    with pytest.raises(ModelError, match=r"loaded by paddle\.jit\.load"):
        BACKEND.network(paddle.jit.load(str(tmp_path / "model"))).check()


def test_static_mode_is_refused_with_advice(cnn):
    paddle.enable_static()
    try:
        with pytest.raises(ModelError, match="disable_static"):
            BACKEND.network(cnn).check()
    finally:
        paddle.disable_static()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 2, 10, 9), np.uint8), "must be floating point, got uint8"),
        ([[1.0]], "got list"),
        (paddle.zeros([1, 2, 10, 9], dtype="int64"), "must be floating point"),
        (paddle.zeros([1, 2, 10, 9], dtype="float32"), "astype\\('float64'\\)"),
    ],
)
def test_images_of_another_kind_are_refused(cnn, x, message):
    with pytest.raises(DtypeError, match=message):
        BACKEND.network(cnn).batch(x)


def test_half_precision_on_the_cpu_is_refused(cnn, small):
    half = BACKEND.network(cnn).as_dtype("float16")
    with pytest.raises(DtypeError, match="choose dtype='float32'"):
        half.batch(small.numpy())


# ---- agreement with the PyTorch adapter


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_both_adapters_give_the_same_numbers(name):
    torch_backend = pytest.importorskip("xai_med_torch", reason="torch is not installed").TorchBackend()
    blueprint = NETWORKS[name]()
    images = example_input(blueprint).astype(np.float64)
    found = [_numbers(backend, blueprint, images) for backend in (torch_backend, BACKEND)]
    assert found[0].keys() == found[1].keys()
    for quantity, expected in found[0].items():
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found[1][quantity], expected, rtol=0, atol=1e-9 * scale, err_msg=quantity)


def _numbers(backend, blueprint, images):
    tensors, network = backend.tensors, backend.network(backend.build(blueprint, dtype="float64"))
    batch, found = network.batch(images), {}
    settings = {
        "gradient at the pool": (AtPool(), None),
        "relevance": (AtInput(probed=True), epsilon_plus(epsilon=1e-9)),
    }
    for quantity, (start, rules) in settings.items():
        with network.trace(batch, start=start, rules=rules) as trace:
            found["output"] = tensors.to_numpy(trace.output)
            if trace.captured is None or (trace.node(trace.output).kind is Kind.SOFTMAX and rules is not None):
                continue
            with trace.recording():
                score = tensors.take(trace.resolve(trace.output), [0], 1)
                (result,) = trace.pullback(score, [score * 0 + 1], trace.captured)
                found[quantity] = tensors.to_numpy(result)
    return found
