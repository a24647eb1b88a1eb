"""PaddlePaddle's adapter looks at every value of a model's weights, whatever their dtype, and at each call."""

import numpy as np
import pytest

from xai_med.errors import ModelError, NonFiniteError

paddle = pytest.importorskip("paddle", reason="paddle is not installed")

from paddle import nn  # noqa: E402

from xai_med_paddle import PaddleBackend  # noqa: E402

BACKEND = PaddleBackend()
LARGEST = float(np.finfo(np.float32).max)


def model_with(tensor):
    """A model with a matrix, a vector and a buffer of its own."""
    model = nn.Linear(2, 3)
    model.register_buffer("buffer", tensor)
    return model


def check(model):
    return BACKEND.network(model).check()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)], ids=str)
def test_one_bad_value_is_found_in_any_floating_dtype_and_shape(shape, dtype, bad):
    values = np.ones(shape)
    values[(-1,) * len(shape)] = bad
    with pytest.raises(NonFiniteError, match="buffer holds NaN or infinite"):
        check(model_with(paddle.to_tensor(values).astype(dtype)))


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_bad_values_of_opposite_sign_do_not_cancel(name):
    model = model_with(paddle.ones([2]))
    values = getattr(model, name).numpy()
    values.flat[:2] = np.inf, -np.inf
    getattr(model, name).set_value(values)
    with pytest.raises(NonFiniteError, match=f"{name} holds NaN or infinite"):
        check(model)


@pytest.mark.parametrize("shape", [(4,), (2, 2)], ids=str)
def test_finite_weights_whose_sum_overflows_are_sound(shape):
    found = check(model_with(paddle.full(shape, LARGEST)))
    assert found.values == 9 + 4


@pytest.mark.parametrize("shape", [(4,), (2, 2)], ids=str)
def test_a_bad_value_beside_a_sum_that_overflows_is_found(shape):
    values = np.full(shape, LARGEST, np.float32)
    values.flat[1] = np.nan
    with pytest.raises(NonFiniteError, match="buffer holds NaN"):
        check(model_with(paddle.to_tensor(values)))


def test_a_half_precision_sum_beyond_its_range_is_sound():
    assert check(model_with(paddle.full([8], 6e4).astype("float16"))).dtypes == ("float16", "float32")


@pytest.mark.parametrize("dtype", ["int64", "bool", "uint8"])
def test_tensors_that_are_not_floating_are_counted_and_their_values_not(dtype):
    found = check(model_with(paddle.ones([5]).astype(dtype)))
    assert (found.tensors, found.values) == (3, 9)
    assert found.dtypes == tuple(sorted(("float32", dtype)))


@pytest.mark.parametrize("shape", [(0,), (0, 3)], ids=str)
def test_empty_tensors_are_sound(shape):
    found = check(model_with(paddle.zeros(shape)))
    assert (found.tensors, found.values) == (3, 9)


def test_a_write_that_paddle_does_not_count_is_seen_at_the_next_call():
    model = model_with(paddle.ones([2]))
    check(model)
    version = model.weight.inplace_version
    model.weight.set_value(np.full((2, 3), np.nan, np.float32))
    assert model.weight.inplace_version == version
    with pytest.raises(NonFiniteError, match="weight holds NaN"):
        check(model)


def test_a_shared_weight_is_counted_once():
    layer = nn.Linear(2, 3)
    other = nn.Linear(2, 3)
    other.weight = layer.weight
    assert check(nn.Sequential(layer, other, layer)).tensors == 3


def test_a_model_without_weights_is_sound():
    assert check(nn.ReLU()).tensors == 0


def test_weights_without_memory_are_named():
    with paddle.LazyGuard():
        lazy = nn.Linear(2, 3)
    with pytest.raises(ModelError, match=r"1\.weight is not initialised yet"):
        check(nn.Sequential(nn.Linear(2, 2), lazy))


def test_layers_come_once_each_in_the_order_and_under_the_names_of_paddle():
    shared = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model = nn.Sequential(nn.LayerList([shared, nn.Linear(2, 2)]), shared, nn.Sequential(shared[0], nn.Dropout()))
    model.absent = None
    found = BACKEND.network(model)._layers
    assert list(found.items()) == list(model.named_sublayers(include_self=True))
