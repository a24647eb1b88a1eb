"""Writes in PaddlePaddle: in place, into ``out=``, and through views, which its derivatives do not follow."""

import pytest

paddle = pytest.importorskip("paddle", reason="paddle is not installed")

from paddle.nn import functional as F  # noqa: E402, N812

from contexts.judging import assert_right, assert_right_or_refused, each  # noqa: E402
from contexts.paddle_reference import Network, after_body, native, with_body, with_head  # noqa: E402
from contexts.reference_network import BACKWARD, METHODS, run_twice  # noqa: E402


def written(write):
    """A model whose first ReLU is a write into what the batch norm returned."""

    def body(model, x):
        x = model.norm(model.conv1(x))
        write(x)
        return F.relu(model.conv2(F.max_pool2d(x, 2)))

    return with_body(body)


def test_a_relu_in_place_is_a_relu(method):
    assert_right(written(lambda x: F.relu_(x)), method, native())


def test_a_clip_in_place_is_right_or_refused_by_paddle_itself(method):
    refused = {"lrp": "PaddlePaddle could not differentiate the model: .*modified by an inplace operation"}
    assert_right_or_refused(written(lambda x: x.clip_(min=0.0)), method, native(), refused)


def test_a_bias_added_in_place_is_a_bias(method):
    def head(model, features):
        values = features.mean([2, 3]).matmul(model.fc.weight)
        values.add_(model.fc.bias)
        return values

    assert_right(with_head(head), method, native())


def test_a_model_may_write_into_its_images(method):
    def body(model, x):
        x.scale_(2.0)
        x.scale_(0.5)
        x[:, 0] = x[:, 0] * 1.0
        return Network.body(model, x)

    x = native()
    assert_right(with_body(body), method, x)
    assert bool((x == native()).all())


def filled(features):
    other = paddle.zeros_like(features)
    other[:] = features
    return other


def filled_in_parts(features):
    other = paddle.empty_like(features)
    other[:, :2] = features[:, :2]
    other[:, 2:] = features[:, 2:]
    return other


def assigned(features):
    other = paddle.zeros_like(features)
    paddle.assign(features, other)
    return other


def run_out(features):
    out = paddle.zeros_like(features)
    assert paddle.add(features, paddle.zeros_like(features), out=out) is out
    return out


@pytest.mark.parametrize("change", [filled, filled_in_parts, assigned, run_out])
def test_features_written_into_another_tensor_are_the_features(method, change):
    assert_right(after_body(change), method, native())


@pytest.mark.parametrize("name", ["copy_", "set_value"])
def test_features_copied_where_paddle_has_no_derivative_are_refused(method, name):
    def change(features):
        other = paddle.zeros_like(features)
        getattr(other, name)(features, *([True] if name == "copy_" else []))
        return other

    saying = r"differentiable path|operations that can be followed"
    assert_right_or_refused(after_body(change), method, native(), each(METHODS, saying))


SHARED = r"uses a tensor that relu_ has written through another one with the same memory .* out of place"
DETACHED = r"relu_ in module \w+ writes into a detached tensor, .* write into a copy"


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.reshape([x.shape[0], -1]),
        lambda x: x.flatten(1),
        lambda x: x.view([x.shape[0], -1]),
        lambda x: x.transpose([0, 2, 3, 1]),
        lambda x: x[:, 1:],
        lambda x: x.unsqueeze(0),
        lambda x: paddle.unbind(x, 1)[0],
        lambda x: paddle.as_strided(x, [x.shape[0], 4 * 63], [4 * 63, 1]),
    ],
    ids="reshape flatten view transpose slice unsqueeze unbind as_strided".split(),
)
def test_a_write_through_a_view_is_refused_where_derivatives_pass_it(view):
    model = written(lambda x: F.relu_(view(x)))
    for method in BACKWARD:
        assert_right_or_refused(model, method, native(), {method: SHARED})


@pytest.mark.parametrize("detached", [lambda x: x.detach(), lambda x: x.data], ids=["detach", "data"])
def test_a_write_through_a_detached_tensor_is_refused_where_derivatives_pass_it(method, detached):
    model = written(lambda x: F.relu_(detached(x)))
    assert_right_or_refused(model, method, native(), each(BACKWARD, DETACHED))


@pytest.mark.parametrize("method", BACKWARD)
def test_a_view_that_is_read_after_its_origin_was_written_is_refused(method):
    def body(model, x):
        x = model.norm(model.conv1(x))
        view = x.flatten(1)
        F.relu_(x)
        return F.relu(model.conv2(F.max_pool2d(view.reshape(x.shape), 2)))

    assert_right_or_refused(with_body(body), method, native(), {method: SHARED})


def test_a_view_that_nobody_else_reads_may_be_written(method):
    def head(model, features):
        values = features.mean([2, 3], keepdim=True).flatten(1)
        F.relu_(values)  # a mean of what is not negative
        return model.fc(values)

    refused = {"cam": "one linear|class activation maps exist"}
    assert_right_or_refused(with_head(head), method, native(), refused if method == "cam" else {})


def test_a_write_with_gradients_switched_off_is_refused_where_derivatives_pass_it(method):
    def write(x):
        with paddle.no_grad():
            F.relu_(x)

    saying = r"relu_ in module \w+ writes into the result of batch_norm with gradients switched off"
    assert_right_or_refused(written(write), method, native(), each(BACKWARD, saying))


def test_one_relu_and_one_convolution_may_run_twice(method):
    relu = paddle.nn.ReLU()

    def body(model, x):
        x = relu(model.norm(model.conv1(x)))
        x = relu(model.conv2(F.max_pool2d(x, 2)))
        return relu(model.conv2(x))

    assert_right(with_body(body), method, native(), make=run_twice)
