"""Whatever the caller's context in PaddlePaddle: gradients, autocast, dtypes, frozen weights, static mode."""

from contextlib import contextmanager

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="paddle is not installed")

from contexts.judging import OUT_OF_REACH, SWITCHED_OFF, assert_right, assert_right_or_refused  # noqa: E402
from contexts.paddle_reference import Network, native, with_body, with_head  # noqa: E402
from contexts.reference_network import TARGET  # noqa: E402
from xai_med import explain  # noqa: E402
from xai_med.errors import DtypeError, ModelError, OutputError  # noqa: E402

# the warning is Paddle's own, for autocast where there is no accelerator
pytestmark = pytest.mark.filterwarnings("ignore:amp_guard can only be enabled")

REFUSED = {"gradient": OUT_OF_REACH, "clear": OUT_OF_REACH, "lrp": SWITCHED_OFF}


@contextmanager
def disabled():
    paddle.set_grad_enabled(False)
    try:
        yield
    finally:
        paddle.set_grad_enabled(True)


@contextmanager
def double_by_default():
    paddle.set_default_dtype("float64")
    try:
        yield
    finally:
        paddle.set_default_dtype("float32")


@pytest.mark.parametrize("context", [paddle.no_grad, paddle.enable_grad, disabled, double_by_default])
def test_contexts_change_nothing_and_stay(method, context):
    with context():
        before = paddle.is_grad_enabled(), paddle.get_default_dtype()
        assert_right(Network(), method, native())
        assert (paddle.is_grad_enabled(), paddle.get_default_dtype()) == before


@pytest.mark.parametrize("level", ["O1", "O2"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_autocast_around_or_inside_the_model_changes_nothing_on_the_cpu(method, level, dtype):
    model, x = Network().to(dtype="float32"), native(dtype="float32")
    with paddle.amp.auto_cast(level=level, dtype=dtype):
        assert_right(model, method, x, share=1e-5)

    class Casting(Network):
        def forward(self, x):
            with paddle.amp.auto_cast(level=level, dtype=dtype):
                return super().forward(x)

    assert_right(Casting().to(dtype="float32"), method, x, share=1e-5)


def test_a_decorated_model_is_right_in_the_dtype_that_it_has(method):
    model = paddle.amp.decorate(Network().to(dtype="float32"), level="O2", dtype="bfloat16")
    assert_right(model, method, native(dtype="float32"), share=1e-5)


def test_frozen_weights_and_images_that_require_a_gradient(method):
    model = Network()
    for parameter in model.parameters():
        parameter.stop_gradient = True
    assert_right(model, method, native())
    assert all(parameter.stop_gradient for parameter in model.parameters())
    leaf = native()
    leaf.stop_gradient = False
    assert_right(model, method, leaf)
    assert_right(model, method, leaf * 1.0)
    assert leaf.grad is None


def test_images_in_a_parameter(method):
    x = paddle.create_parameter([2, 2, 9, 7], "float64")
    x.set_value(native())
    assert_right(Network(), method, x)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_refused_on_the_cpu_and_right_in_another_dtype(method, dtype):
    model, x = Network().to(dtype=dtype), native(dtype=dtype)
    with pytest.raises(
        DtypeError, match=r"for which PaddlePaddle has no operations on the CPU; choose dtype='float32'"
    ):
        explain(model, x, method=method)
    found = explain(model, x, method=method, dtype="float32", target=TARGET).maps
    wanted = explain(Network(), native(), method=method, target=TARGET).maps
    if method != "gradient":  # gates flip where digits are few
        assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.95
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(paddle, dtype)}


def test_images_of_another_dtype_are_refused(method):
    with pytest.raises(DtypeError, match=r"images are paddle.float32 and the model's weights paddle.float64; give x"):
        explain(Network(), native(dtype="float32"), method=method)


def test_static_mode_is_refused(method):
    model, x = Network(), native()
    paddle.enable_static()
    try:
        with pytest.raises(
            ModelError, match=r"in static mode, where operations do not run; call paddle.disable_static"
        ):
            explain(model, x, method=method)
    finally:
        paddle.disable_static()
    assert_right(model, method, x)


def test_a_body_without_gradients_is_right_from_the_pool_on(method):
    def body(model, x):
        with paddle.no_grad():
            return Network.body(model, x)

    assert_right_or_refused(with_body(body), method, native(), REFUSED)


def test_a_head_or_a_model_without_gradients_is_right_where_none_are_needed(method):
    def head(model, features):
        with paddle.no_grad():
            return Network.head(model, features)

    class Decorated(Network):
        @paddle.no_grad()
        def forward(self, x):
            return super().forward(x)

    assert_right_or_refused(with_head(head), method, native(), REFUSED)
    assert_right_or_refused(Decorated(), method, native(), REFUSED)


def test_features_whose_gradient_the_model_stops_are_right_from_the_pool_on(method):
    def body(model, x):
        features = Network.body(model, x)
        features.stop_gradient = True
        return features

    refused = {"gradient": OUT_OF_REACH, "clear": OUT_OF_REACH, "lrp": OUT_OF_REACH}
    assert_right_or_refused(with_body(body), method, native(), refused)


def test_gradients_that_a_model_enables_or_disables_for_good_leave_the_caller_as_he_was(method):
    def enabled(model, x):
        with paddle.enable_grad():
            return Network.body(model, x)

    def for_good(model, x):
        paddle.set_grad_enabled(False)
        return Network.body(model, x)

    assert_right(with_body(enabled), method, native())
    assert_right_or_refused(with_body(for_good), method, native(), REFUSED)
    assert paddle.is_grad_enabled()


def test_complex_outputs_are_refused(method):
    model = with_head(lambda s, features: Network.head(s, features).astype("complex128"))
    with pytest.raises(OutputError, match="returns complex numbers"):
        explain(model, native(), method=method, target=TARGET)


def test_images_that_go_through_fourier_space_are_right_or_refused(method):
    model = with_body(lambda s, x: Network.body(s, paddle.fft.ifft2(paddle.fft.fft2(x)).real()))
    refused = {
        "cam": "class activation maps exist",
        "grad_cam": "no tensor with the image's space axes",
        "lrp": "have none for unknown: fft",
    }
    assert_right_or_refused(model, method, native(), refused)
