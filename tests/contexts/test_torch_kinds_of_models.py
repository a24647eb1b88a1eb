"""Models in PyTorch that cannot be explained as they are: refused with advice, and right where it is followed."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from contexts.torch_sequence import Sequence, assert_close, images, pooled  # noqa: E402
from xai_med import explain  # noqa: E402
from xai_med.errors import LayerError, ModelError, XaiMedError  # noqa: E402


def test_a_layer_that_returns_a_tuple_is_refused():
    class Two(nn.Module):
        def forward(self, x):
            return x * 2, x

    class Model(Sequence):
        def __init__(self):
            super().__init__(lambda model, a: pooled(model, model.two(a)[0]))
            self.two = Two()

    for name in ("grad_cam", "cam"):
        with pytest.raises(LayerError, match="layer 'two' returns a tuple, not one tensor; choose a layer inside it"):
            explain(Model(), images(), method=name, layer="two")


def test_a_model_with_two_inputs_is_refused_and_a_wrapped_one_is_right(method):
    class TwoInputs(Sequence):
        def __init__(self):
            super().__init__(pooled)

        def forward(self, x, scale):
            return super().forward(x * scale)

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = TwoInputs()

        def forward(self, x):
            return self.model(x, 2.0)

    with pytest.raises(ModelError, match=r"forward takes \(x, scale\) and gets one argument, the images; wrap it"):
        explain(TwoInputs(), images(), method=method)
    wanted = explain(Sequence(lambda model, a: pooled(model, a)), images() * 2, method=method, target=1)
    found = explain(Wrapped(), images(), method=method, target=1)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5)
    assert_close(found.maps, wanted.maps * (2 if method == "gradient" else 1), 1e-4) if method != "clear" else None


def test_a_module_that_is_not_initialised_is_refused(method):
    model = Sequence(pooled)
    model.conv = nn.LazyConv2d(4, 3, padding=1)
    with pytest.raises(ModelError, match=r"conv\.weight is not initialised yet \(a lazy layer\); run the model once"):
        explain(model, images(), method=method)


def test_a_module_without_storage_is_refused(method):
    model = Sequence(pooled)
    model.conv = nn.Conv2d(2, 4, 3, padding=1, device="meta")
    with pytest.raises(ModelError, match=r"conv\.weight is on the meta device and holds no values"):
        explain(model, images(), method=method)


class Scriptable(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


def test_scripted_and_traced_modules_are_refused(method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        scripted = torch.jit.script(Scriptable())
        traced = torch.jit.trace(Scriptable(), images())
    for model in (scripted, traced, nn.Sequential(scripted, nn.Identity())):
        with pytest.raises(ModelError, match=r"TorchScript module|is scripted or compiled"):
            explain(model, images(), method=method)


def test_a_compiled_model_is_refused_and_its_original_is_right(method):
    model = Scriptable()
    wanted = explain(model, images(), method=method, target=1)
    compiled = torch.compile(model, backend="eager")
    compiled(images())
    with pytest.raises(ModelError, match=r"compiled with torch.compile.*explain the original module, model._orig_mod"):
        explain(compiled, images(), method=method)
    with pytest.raises(ModelError, match="scripted or compiled"):
        explain(nn.Sequential(compiled), images(), method=method)
    assert_close(explain(compiled._orig_mod, images(), method=method, target=1).maps, wanted.maps)


def test_a_model_compiled_in_place_is_refused(method):
    model = Scriptable()
    model.compile(backend="eager")
    model(images())
    with pytest.raises(ModelError, match="is scripted or compiled"):
        explain(model, images(), method=method, target=1)


def test_a_data_parallel_wrapper_is_refused(method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = nn.DataParallel(Scriptable())
    with pytest.raises(ModelError, match=r"wrapped in DataParallel; explain model.module"):
        explain(wrapped, images(), method=method)


def test_images_without_a_batch_axis_are_refused(method):
    with pytest.raises(XaiMedError, match="add the batch axis"):
        explain(Sequence(lambda m, a: m.fc(a.mean((-1, -2)))), images()[0], method=method, target=1)
