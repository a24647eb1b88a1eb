"""Operations that fail are refused by name, exceptions of the caller's own code stay his; in both frameworks."""

from importlib import import_module

import numpy as np
import pytest

from contexts.judging import assert_right
from contexts.reference_network import METHODS
from xai_med import explain
from xai_med.errors import DtypeError, ModelError, ShapeError, TargetError, XaiMedError


class OwnError(Exception):
    """Of the caller."""


@pytest.fixture(params=["torch", "paddle"])
def written(request):
    """The reference network as written in each framework."""
    pytest.importorskip(request.param)
    return import_module(f"contexts.{request.param}_reference")


@pytest.fixture(params=METHODS)
def method(request):
    return request.param


def test_images_of_a_size_that_does_not_fit_are_refused_with_the_place_and_the_cause(written, method):
    model = written.with_head(lambda s, features: s.fc(features.flatten(1)[:, :5]))
    saying = r"linear in module Linear could not run on tensors of shape \(2, 5\).* for images of shape \(2, 2, 9, 7\)"
    with pytest.raises(ShapeError, match=saying) as caught:
        explain(model, written.native(), method=method, target=1)
    assert not isinstance(caught.value.__cause__, XaiMedError)
    assert str(caught.value.__cause__).strip() in str(caught.value)


def test_constants_of_another_dtype_are_refused(written, method):
    model = written.with_head(lambda s, features: s.fc(s.lowered(features.mean((2, 3)))))
    model.lowered = lambda values: values.astype("float32") if hasattr(values, "astype") else values.float()
    with pytest.raises(DtypeError, match=r"they are float32 and float64, the images float64; give the model one dtype"):
        explain(model, written.native(), method=method, target=1)


@pytest.mark.parametrize("error", [OwnError, ValueError, RuntimeError, TypeError, AssertionError, KeyboardInterrupt])
def test_an_exception_of_the_callers_stays_his(written, method, error):
    def body(*_):
        raise error("from the caller")

    with pytest.raises(error, match="from the caller") as caught:
        explain(written.with_body(body), written.native(), method=method, target=1)
    assert type(caught.value) is error
    if isinstance(caught.value, Exception):
        assert "while the model ran on an input of shape (2, 2, 9, 7)" in caught.value.__notes__[0]


def test_an_exception_that_the_caller_makes_of_a_failed_operation_stays_his(written, method):
    def head(model, features):
        try:
            return model.fc(features)
        except Exception as error:
            raise OwnError("not an image of ours") from error

    with pytest.raises(OwnError, match="not an image of ours"):
        explain(written.with_head(head), written.native(), method=method, target=1)


def test_a_model_may_catch_the_failure_of_an_operation_and_go_on(written, method):
    def head(model, features):
        try:
            return model.fc(features)
        except Exception:  # noqa: BLE001 (what the caller's code may do)
            return written.Network.head(model, features)

    assert_right(written.with_head(head), method, written.native())


def test_an_exhausted_iterator_in_the_model_is_named(written, method):
    with pytest.raises(ModelError, match=r"forward raised StopIteration: it called next\(\) on something exhausted"):
        explain(written.with_body(lambda *_: next(iter(()))), written.native(), method=method)


def test_the_next_map_is_right_after_a_failure(written, method):
    with pytest.raises(XaiMedError):
        explain(written.with_head(lambda s, features: s.fc(features)), written.native(), method=method)
    assert_right(written.Network(), method, written.native())


# ---- targets that look like others


@pytest.mark.parametrize("rows", [[[0, 1, 0], [1, 0, 0]], [[1, 1, 0], [0, 0, 1]]], ids=["one-hot", "multi-hot"])
@pytest.mark.parametrize("make", [list, np.array], ids=["list", "array"])
def test_indicators_are_not_read_as_class_indices(written, method, rows, make):
    with pytest.raises(TargetError, match=r"an indicator \(one-hot\) where class indices are expected"):
        explain(written.Network(), written.native(), method=method, target=make(rows))


def test_several_indices_for_each_image_are_class_indices(written):
    result = explain(written.Network(), written.native(), target=np.array([[0, 1], [1, 0]]))
    assert result.class_indices.tolist() == [[0, 1], [1, 0]]
    every = explain(written.Network(), written.native(), target=np.array([[0, 2, 1], [2, 1, 0]]))
    assert every.class_indices.tolist() == [[0, 2, 1], [2, 1, 0]]
