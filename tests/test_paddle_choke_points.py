"""Names that are bound to PaddlePaddle's functions are replaced while somebody explains, whenever they were bound."""

import importlib
import sys
from types import ModuleType

import pytest

from xai_med.backend.operations import Kind
from xai_med.backend.start import Nowhere

paddle = pytest.importorskip("paddle", reason="paddle is not installed")

from paddle import _C_ops, nn  # noqa: E402
from paddle.nn import functional  # noqa: E402

from xai_med_paddle import PaddleBackend  # noqa: E402

BACKEND = PaddleBackend()
X = paddle.ones([1, 2, 4, 4])


class Calling(nn.Layer):
    """Calls what a module's name is bound to at that moment."""

    def __init__(self, module, name):
        super().__init__()
        self.look_up = lambda: getattr(module, name)

    def forward(self, x):
        return self.look_up()(x)


def seen(model):
    with BACKEND.network(model).trace(X, start=Nowhere()) as trace:
        return [node.kind for node in trace.node(trace.output).ancestors()][:-1]


@pytest.fixture
def module():
    made = ModuleType("somebody_s_functions")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


def test_a_name_is_seen_that_was_bound_after_the_first_explanation(module):
    module.act = lambda x: functional.sigmoid(x)
    assert seen(Calling(module, "act")) == [Kind.SIGMOID]
    module.act, raw = _C_ops.relu, _C_ops.relu  # as many names as before
    assert seen(Calling(module, "act")) == [Kind.RELU]
    assert module.act is raw


def test_a_name_is_seen_in_a_module_that_replaced_another_of_its_name(module):
    module.act = _C_ops.relu
    assert seen(Calling(module, "act")) == [Kind.RELU]
    other = ModuleType(module.__name__)
    other.act = _C_ops.sigmoid
    sys.modules[module.__name__] = other
    assert seen(Calling(other, "act")) == [Kind.SIGMOID]
    assert other.act is _C_ops.sigmoid


def test_a_name_is_seen_in_a_module_that_was_imported_and_imported_again(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "functions_of_a_project.py"
    file.write_text("from paddle.nn.functional import sigmoid as act\n")
    project = importlib.import_module("functions_of_a_project")
    assert seen(Calling(project, "act")) == [Kind.SIGMOID]
    file.write_text("from paddle._C_ops import relu as act\n")
    importlib.reload(project)
    assert seen(Calling(project, "act")) == [Kind.RELU]


def test_names_are_put_back_when_the_model_fails(module):
    module.act, raw = _C_ops.relu, _C_ops.relu
    during = []

    class Failing(nn.Layer):
        def forward(self, x):
            during.append(module.act)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), BACKEND.network(Failing()).trace(X, start=Nowhere()):
        pass
    assert module.act is raw is _C_ops.relu
    assert during[0] is not raw


def test_what_somebody_else_put_in_the_place_of_a_function_is_left_there(monkeypatch):
    def own(x):
        return x

    with monkeypatch.context() as patch:
        patch.setattr(_C_ops, "relu", own)
        assert seen(nn.Sigmoid()) == [Kind.SIGMOID]
        assert _C_ops.relu is own
    assert seen(nn.ReLU()) == [Kind.RELU]


def test_a_function_is_seen_again_when_the_one_in_its_place_is_gone(monkeypatch):
    plain = paddle.Tensor.__add__

    class Adding(nn.Layer):
        def forward(self, x):
            return x + x

    with monkeypatch.context() as patch:
        patch.setattr(paddle.Tensor, "__add__", lambda a, b: plain(a, b))
        assert seen(nn.ReLU()) == [Kind.RELU]
    assert seen(Adding()) == [Kind.ADD]
    assert paddle.Tensor.__add__ is plain


def test_what_a_model_puts_in_the_place_of_a_function_while_it_runs_stays():
    plain = _C_ops.relu

    def own(x):
        return plain(x)

    class Patching(nn.Layer):
        def forward(self, x):
            _C_ops.relu = own
            return functional.sigmoid(x)

    try:
        seen(Patching())
        assert _C_ops.relu is own
    finally:
        _C_ops.relu = plain
    assert seen(nn.ReLU()) == [Kind.RELU]
