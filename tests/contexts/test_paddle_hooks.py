"""Hooks in PaddlePaddle, numbers that leave it, and what is given back after an explanation."""

import gc

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="paddle is not installed")

from paddle.jit.dy2static.program_translator import StaticFunction  # noqa: E402

from contexts.judging import OUT_OF_SIGHT, assert_right, assert_right_or_refused, each  # noqa: E402
from contexts.paddle_reference import Network, after_body, native, with_body  # noqa: E402
from contexts.reference_network import BACKWARD, METHODS, TARGET  # noqa: E402
from xai_med import explain  # noqa: E402
from xai_med_paddle.tensors import TENSORS  # noqa: E402


@pytest.mark.parametrize("pick", [lambda model: model, lambda model: model.conv1], ids=["model", "layer"])
def test_a_hook_that_changes_an_input_acts(method, pick):
    model = Network()
    pick(model).register_forward_pre_hook(lambda _layer, inputs: (inputs[0] * 2,))
    assert_right(model, method, native(), scale=2.0)


def test_a_hook_that_changes_an_output_acts(method):
    model = Network()
    model.conv2.register_forward_post_hook(lambda _layer, _inputs, output: output * 4)
    model.conv2.register_forward_post_hook(lambda _layer, _inputs, output: output * 0.25)
    assert_right(model, method, native())


def test_a_tensor_hook_that_only_looks_fires(method):
    seen = []
    model = after_body(lambda a: (a.register_hook(lambda gradient: seen.append(gradient)), a)[-1])
    assert_right(model, method, native())
    assert bool(seen) is (method in BACKWARD)


def test_a_tensor_hook_may_be_removed_where_no_gradient_is_recorded():
    def change(features):
        features.register_hook(lambda gradient: gradient * 3).remove()
        return features

    for method in METHODS:
        assert_right(after_body(change), method, native())


def test_a_tensor_hook_that_changes_the_gradient_is_refused(method):
    model = after_body(lambda a: (a.register_hook(lambda gradient: gradient * 3), a)[-1])
    saying = "attaches a hook to a tensor that changes its gradient"
    assert_right_or_refused(model, method, native(), each(BACKWARD, saying))


# ---- numbers


@pytest.mark.parametrize(
    "largest",
    [
        lambda a: a.max().item(),
        lambda a: float(a.max()),
        lambda a: float(a.numpy().max()),
        lambda a: max(a.flatten().tolist()),
        lambda a: np.asarray(a).max().item(),
    ],
    ids="item float numpy tolist array".split(),
)
def test_a_number_of_the_whole_batch_does_not_mix_its_images(method, largest):
    model = with_body(lambda s, x: Network.body(s, x) / largest(abs(x)))
    x = native(3)
    together = explain(model, x, method=method, target=TARGET)
    assert any("one at a time" in check.name for check in together.checks)
    for number in range(3):
        alone = explain(model, x[number : number + 1], method=method, target=TARGET)
        np.testing.assert_allclose(together.attribution[number], alone.attribution[0], rtol=1e-12, atol=1e-15)


def test_a_decision_by_the_whole_batch_does_not_mix_its_images(method):
    def body(s, x):
        features = Network.body(s, x)
        return features * 2 if x.max() > x[0].max() else features

    x = native(3)
    assert int(x.max([1, 2, 3]).argmax()) > 0
    assert_right(with_body(body), method, x[:2])
    together = explain(with_body(body), x, method=method, target=TARGET)
    alone = explain(with_body(body), x[:1], method=method, target=TARGET)
    np.testing.assert_allclose(together.attribution[0], alone.attribution[0], rtol=1e-12, atol=1e-15)


def test_features_that_leave_as_an_array_and_come_back_are_refused(method):
    model = after_body(lambda a: paddle.to_tensor(a.numpy()))
    assert_right_or_refused(model, method, native(), each(METHODS, OUT_OF_SIGHT))


# ---- afterwards


def replaced():
    names = (
        (paddle.Tensor, "register_hook"),
        (paddle.Tensor, "numpy"),
        (paddle.Tensor, "data"),
        (StaticFunction, "__call__"),
    )
    return [vars(owner)[name] for owner, name in names]


def test_everything_is_put_back(method):
    before = replaced()
    assert_right(Network(), method, native())
    with pytest.raises(ZeroDivisionError):
        explain(with_body(lambda *_: 1 / 0), native(), method=method)
    assert all(new is old for new, old in zip(replaced(), before, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)], ids=str)
def test_arrays_become_tensors_of_the_same_values_without_leaving_anything_in_memory(dtype, shape):
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    like = paddle.zeros([], dtype="float32")
    made = TENSORS.from_numpy(array, like)
    np.testing.assert_array_equal(made.numpy(), array)
    assert made.numpy().shape == shape
    assert TENSORS.dtype(made) == ("float32" if dtype.startswith("float") else dtype)

    def objects():
        gc.collect()
        return len(gc.get_objects())

    before = objects()
    for _ in range(50):
        TENSORS.from_numpy(array, like)
    assert objects() - before < 25


def test_big_endian_and_strided_arrays_become_tensors():
    array = np.arange(12.0).reshape(3, 4)
    for given in (array.astype(">f8"), array[:, ::-1][:, ::-1], array.T.copy().T, array.astype(">f4")):
        np.testing.assert_array_equal(TENSORS.from_numpy(given, paddle.zeros([], dtype="float64")).numpy(), array)
