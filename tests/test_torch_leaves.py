"""PyTorch's own small modules are reported as the call they make: the same call, and only where that is known."""

import copy
import threading
import weakref
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

from xai_med import explain  # noqa: E402
from xai_med.backend.operations import Kind  # noqa: E402
from xai_med.backend.start import Nowhere  # noqa: E402
from xai_med.backend.tracing.keeping import StateKeeper  # noqa: E402
from xai_med.backend.tracing.tracer import Tracer  # noqa: E402
from xai_med.errors import ModelError, NotApplicableError, ShapeError, UnsupportedOperationError  # noqa: E402
from xai_med_torch import details, interception, leaves  # noqa: E402
from xai_med_torch.framework import TorchFramework  # noqa: E402


class Listener:
    """Notes every call and module, and changes nothing."""

    def __init__(self):
        self.calls, self.modules = [], []

    def call(self, call):
        self.calls.append(call)
        return call.function(*call.args, **call.kwargs)

    def depends_on_input(self, _):
        return False

    def enter_module(self, module):
        self.modules.append(("in", module))

    def leave_module(self, module, output):
        self.modules.append(("out", module))
        return output


def heard(run):
    listener = Listener()
    with torch.no_grad(), interception.intercepted(listener):
        result = run()
    return listener, result


@pytest.fixture
def shortcuts(monkeypatch):
    """The modules that were reported as a call."""
    taken = []

    def spied(module, args, kwargs):
        called = leaves.called_by(module, args, kwargs)
        if called is not None:
            taken.append(module)
        return called

    monkeypatch.setattr(interception, "called_by", spied)
    return taken


def image(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


LEAVES = {
    "conv1d": (lambda: nn.Conv1d(4, 6, 3), (2, 4, 9)),
    "conv2d, grouped, strided": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, dilation=2), (2, 4, 9, 8)),
    "conv2d, same": (lambda: nn.Conv2d(4, 6, 3, padding="same", bias=False), (2, 4, 9, 8)),
    "conv3d": (lambda: nn.Conv3d(4, 6, 2), (2, 4, 5, 6, 7)),
    "batch norm 1d": (lambda: nn.BatchNorm1d(4), (2, 4)),
    "batch norm 2d": (lambda: nn.BatchNorm2d(4, eps=1e-3, momentum=None), (2, 4, 5, 6)),
    "batch norm 2d, not affine": (lambda: nn.BatchNorm2d(4, affine=False), (2, 4, 5, 6)),
    "batch norm 3d": (lambda: nn.BatchNorm3d(4), (2, 4, 3, 3, 3)),
    "relu": (nn.ReLU, (2, 4)),
    "relu in place": (lambda: nn.ReLU(inplace=True), (2, 4)),
    "linear": (lambda: nn.Linear(4, 3), (2, 4)),
    "linear without bias": (lambda: nn.Linear(4, 3, bias=False), (2, 5, 4)),
    "layer norm": (lambda: nn.LayerNorm(4), (2, 5, 4)),
    "layer norm, not affine": (lambda: nn.LayerNorm((5, 4), elementwise_affine=False), (2, 5, 4)),
    "gelu": (lambda: nn.GELU(approximate="tanh"), (2, 4)),
}


def described(call):
    """A call by its words: names of functions, identities of weights, shapes of the rest."""

    def word(value):
        if isinstance(value, nn.Parameter):
            return id(value)
        return (value.dtype, tuple(value.shape)) if isinstance(value, torch.Tensor) else value

    named = {name: word(value) for name, value in call.kwargs.items()}
    return call.kind, call.name, call.function, tuple(map(word, call.args)), named, call.writes_in_place


@pytest.mark.parametrize("name", LEAVES)
def test_the_call_reported_for_a_module_is_the_one_that_the_module_makes(name, shortcuts, monkeypatch):
    make, shape = LEAVES[name]
    module = make().eval()
    short, result = heard(lambda: module(image(*shape)))
    assert shortcuts == [module]
    monkeypatch.setattr(interception, "called_by", lambda *_: None)
    whole, expected = heard(lambda: module(image(*shape)))
    assert torch.equal(result, expected)
    assert [described(call) for call in short.calls[-1:]] == [described(call) for call in whole.calls[-1:]]
    assert len(short.calls) == len(whole.calls)
    assert short.modules == whole.modules == [("in", module), ("out", module)]


class Derived(nn.ReLU):
    def forward(self, x):
        return super().forward(x) * 2


def with_own_forward():
    module = nn.ReLU()
    module.forward = lambda x: x.clamp(0, 1)
    return module


def with_hook(register):
    module = nn.Conv2d(3, 3, 1)
    getattr(module, register)(lambda *given: None)
    return module


def with_other_weight():
    module = nn.Linear(3, 3)
    del module.weight
    module.weight = torch.ones(3, 3)
    return module


class Tagged(torch.Tensor):
    """A tensor that acts on its own."""


def with_tagged_weight():
    module = nn.Conv2d(3, 3, 1)
    module.weight = nn.Parameter(torch.ones(3, 3, 1, 1).as_subclass(Tagged))
    return module


NOT_SHORT = {
    "a derived class": (Derived, (2, 3)),
    "a forward of its own": (with_own_forward, (2, 3)),
    "a forward hook": (lambda: with_hook("register_forward_hook"), (2, 3, 4, 4)),
    "a forward pre-hook": (lambda: with_hook("register_forward_pre_hook"), (2, 3, 4, 4)),
    "padding that is not zeros": (lambda: nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), (2, 3, 4, 4)),
    "statistics of the batch": (lambda: nn.BatchNorm2d(3, track_running_stats=False), (2, 3, 4, 4)),
    "training mode": (lambda: nn.BatchNorm2d(3).train(), (2, 3, 4, 4)),
    "a parametrised weight": (lambda: parametrizations.weight_norm(nn.Linear(3, 3)), (2, 3)),
    "an old spectral norm": (lambda: torch.nn.utils.spectral_norm(nn.Linear(3, 3)).eval(), (2, 3)),
    "a weight that is no parameter": (with_other_weight, (2, 3)),
    "a weight of a derived class": (with_tagged_weight, (2, 3, 4, 4)),
}


@pytest.mark.parametrize("name", NOT_SHORT)
def test_a_module_that_may_do_anything_else_is_run(name, shortcuts):
    make, shape = NOT_SHORT[name]
    module = make()
    listener, result = heard(lambda: module(image(*shape)))
    assert shortcuts == []
    assert listener.calls
    with torch.no_grad():
        assert torch.allclose(result, module(image(*shape)), atol=1e-6)


def test_arguments_by_name_and_tensors_of_derived_classes_are_left_to_the_module(shortcuts):
    heard(lambda: nn.ReLU()(input=image(2, 3)))
    heard(lambda: nn.ReLU()(image(2, 3).as_subclass(Tagged)))
    assert shortcuts == []


@pytest.mark.parametrize(("where", "name"), [(nn.ReLU, "forward"), (functional, "relu"), (nn.Conv2d, "_conv_forward")])
def test_a_function_that_somebody_replaced_is_what_runs(where, name, shortcuts, monkeypatch):
    seen = []
    original = getattr(where, name)

    def replaced(*args, **kwargs):
        seen.append(name)
        return original(*args, **kwargs)

    monkeypatch.setattr(where, name, replaced)
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    heard(lambda: module(image(1, 3, 2, 2)))
    assert seen
    assert shortcuts == []


def test_hooks_around_all_modules_still_see_each_of_them(shortcuts):
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(module))
    try:
        module = nn.ReLU()
        heard(lambda: module(image(2, 3)))
    finally:
        handle.remove()
    assert seen == [module]
    assert shortcuts == []


class Counting(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_a_mode_of_the_callers_still_sees_each_function(shortcuts):
    outer, inner = Counting(), Counting()

    def run():
        with inner:
            return nn.ReLU()(image(2, 3))

    with outer:
        heard(run)
    assert "relu" in inner.names
    assert "relu" in outer.names
    assert shortcuts == []


def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    return nn.Sequential(*layers).eval()


def class_calls():
    return [kind for kind in leaves.LEAVES if "__call__" in vars(kind)]


def test_classes_are_as_before_after_an_explanation_and_after_an_error(shortcuts):
    model = network()
    explain(model, image(1, 1, 6, 6), method="grad_cam", target=1)
    assert len({id(module) for module in shortcuts}) == 4
    assert class_calls() == []
    model[3] = nn.Conv2d(9, 9, 1)
    with pytest.raises(ValueError, match="conv2d"):
        explain(model, image(1, 1, 6, 6), method="grad_cam", target=1)
    assert class_calls() == []


def test_somebody_elses_call_of_a_class_is_kept(shortcuts, monkeypatch):
    seen = []

    def call(module, *args, **kwargs):
        seen.append(module)
        return nn.Module.__call__(module, *args, **kwargs)

    monkeypatch.setattr(nn.ReLU, "__call__", call, raising=False)
    module = nn.ReLU()
    heard(lambda: module(image(2, 3)))
    assert seen == [module]
    assert vars(nn.ReLU)["__call__"] is call


class Building(nn.Module):
    """Makes a layer while it runs."""

    def forward(self, x):
        return network()(x) + nn.Linear(2, 2).weight.sum() * 0


def test_layers_made_while_the_model_runs_are_refused_in_words():
    with pytest.raises(NotApplicableError, match="random"):
        explain(Building().eval(), image(1, 1, 6, 6), method="gradient", target=0)


class Conditional(nn.Module):
    """Runs a layer with weights or statistics that it computed from the image."""

    def __init__(self, layer, name):
        super().__init__()
        self.layer, self.name = layer, name
        self.rest = network()

    def forward(self, x):
        own = dict(self.layer.named_parameters()) | dict(self.layer.named_buffers())
        computed = own[self.name] * (1 + x.mean())
        return self.rest(torch.func.functional_call(self.layer, {self.name: computed}, (x,)))


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("layer", [nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)], ids=["convolution", "batch norm"])
def test_weights_computed_from_the_image_are_followed(layer, name):
    model, x = Conditional(layer, name).eval(), image(1, 1, 6, 6).requires_grad_()
    found = explain(model, x.detach(), method="gradient", target=1, dtype="float64")
    double = copy.deepcopy(model).double()
    (expected,) = torch.autograd.grad(double(x.double())[0, 1], x)
    assert torch.allclose(torch.tensor(found.attribution[0, 0], dtype=torch.float32), expected[0], atol=1e-6)
    with pytest.raises((NotApplicableError, UnsupportedOperationError)):
        explain(model, x.detach(), method="lrp", target=1)


@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
def test_what_a_norm_takes_that_was_computed_from_the_image_is_recorded(name):
    layer = nn.BatchNorm2d(1)
    model, x = Conditional(layer, name).eval(), image(1, 1, 6, 6)
    framework = TorchFramework()
    keeper = StateKeeper(framework, framework.layers(model).values())
    tracer = Tracer(framework, start=Nowhere(), rules=None, space=2, differentiable=False, keeper=keeper)
    with framework.isolated(), framework.intercepted(tracer):
        output = model(tracer.enter_network(x))
    norms = [node for node in tracer.nodes.get(output).ancestors() if node.kind is Kind.BATCH_NORM]
    assert len(norms[-1].parents) == 2


@pytest.mark.parametrize("name", ["running_mean", "running_var"])
def test_statistics_computed_from_the_image_have_no_gradient_and_are_refused(name):
    model, x = Conditional(nn.BatchNorm2d(1), name).eval(), image(1, 1, 6, 6)
    with pytest.raises(ModelError, match="not differentiable"):
        explain(model, x, method="gradient", target=1)


class Spreading(nn.Module):
    """Runs a module in another thread while it is explained."""

    def __init__(self):
        super().__init__()
        self.rest, self.other = network(), nn.ReLU()
        self.found = []

    def forward(self, x):
        thread = threading.Thread(target=lambda: self.found.append(self.other(torch.tensor([-1.0, 2.0]))))
        thread.start()
        thread.join()
        return self.rest(x)


def test_modules_of_other_threads_run_as_ever(shortcuts):
    model = Spreading().eval()
    explain(model, image(1, 1, 6, 6), method="cam", target=0)
    assert model.other not in shortcuts
    assert torch.equal(model.found[0], torch.tensor([0.0, 2.0]))


@pytest.mark.parametrize("method", ["cam", "grad_cam", "gradient", "lrp", "clear"])
def test_maps_are_the_same_without_the_shortcut(method, monkeypatch):
    model, x = network(), image(2, 1, 6, 6)
    short = explain(model, x, method=method, target="all")
    monkeypatch.setattr(interception, "called_by", lambda *_: None)
    whole = explain(model, x, method=method, target="all")
    assert (short.maps == whole.maps).all()
    assert short.layer == whole.layer


def followed(model, x):
    """The record of one forward pass, and what the modules handed on."""
    framework, outputs = TorchFramework(), {}
    keeper = StateKeeper(framework, framework.layers(model).values())
    tracer = Tracer(framework, start=Nowhere(), rules=None, space=2, differentiable=False, keeper=keeper)
    with framework.isolated(), framework.intercepted(tracer):
        signal = tracer.enter_network(x)
        for module in model:
            signal = outputs[module] = module(signal)
    return tracer, outputs


def test_details_of_a_module_are_read_when_they_are_asked_for(shortcuts, monkeypatch):
    read = []
    batch_norm = details._READERS[Kind.BATCH_NORM]

    def spied(*given):
        read.append(given)
        return batch_norm(*given)

    monkeypatch.setattr(details, "_READERS", {**details._READERS, Kind.BATCH_NORM: spied})
    model = network()
    tracer, outputs = followed(model, image(1, 1, 6, 6))
    assert model[1] in shortcuts
    assert read == []
    norm, linear = (tracer.nodes.get(outputs[model[number]]) for number in (2, 5))
    norm = norm.parents[0]
    assert norm.details.statistics is not None
    assert torch.allclose(norm.details.statistics.scale, model[1].weight / (model[1].running_var + 1e-5).sqrt())
    assert norm.details.statistics.shift.shape == (4,)
    assert len(read) == 1
    assert linear.details.weight is model[5].weight
    assert linear.details.signal is None


def test_the_record_of_modules_keeps_no_activation_alive_but_the_pooled_features():
    tracer, outputs = followed(network(), image(1, 1, 6, 6))
    references = [weakref.ref(output) for output in outputs.values()]
    last = tracer.nodes.get(outputs[list(outputs)[-1]])
    outputs.clear()
    assert [reference() is not None for reference in references] == [False, False, True, False, False, False]
    assert [node.kind for node in last.ancestors()][-2:] == [Kind.CONVOLUTION, Kind.ROUTING]


def test_a_copy_of_a_late_node_reads_as_it_does():
    tracer, outputs = followed(network(), image(1, 1, 6, 6))
    node = tracer.nodes.get(list(outputs.values())[-1])
    copy = replace(node, index=99)
    assert copy.index == 99
    assert copy.details.weight is node.details.weight


@pytest.mark.parametrize("method", ["cam", "grad_cam"])
def test_the_first_module_still_refuses_other_channels_and_a_missing_batch_axis(method):
    with pytest.raises(ShapeError, match="3 channels"):
        explain(network(), image(1, 3, 6, 6), method=method, target=0)
    with pytest.raises(ShapeError, match="batch axis"):
        explain(network(), image(1, 6, 6), method=method, target=0)
