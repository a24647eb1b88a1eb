"""Modules that provably do the same each time are followed once; whatever might differ is followed again."""

import copy
import gc
import random
import time
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from xai_med import explain  # noqa: E402
from xai_med.backend.tracing.steady import prove  # noqa: E402
from xai_med_torch.steadiness import BLOCKS, TorchVocabulary  # noqa: E402

METHODS = ("cam", "grad_cam", "gradient")
SWITCH = True


def image(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Residual(nn.Module):
    """As the blocks of ResNets are written."""

    def __init__(self, channels=4, downsample=None):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.scale = 2

    def forward(self, x):
        identity = x
        out = self.bn(self.conv(x))
        if self.downsample is not None:
            identity = self.downsample(x)
        if self.scale > 1:
            out = out * 2
        out += identity
        return self.relu(out)


class Dense(nn.ModuleDict):
    """As the blocks of DenseNets are written."""

    def __init__(self):
        super().__init__()
        self.add_module("a", nn.Conv2d(4, 4, 3, padding=1))
        self.add_module("b", nn.Conv2d(8, 4, 3, padding=1))

    def join(self, inputs):
        return torch.cat(inputs, 1)

    def forward(self, x):
        features = [x]
        for _, layer in self.items():
            features.append(functional.relu(layer(self.join(features))))
        return torch.cat(features, 1)


class Network(nn.Module):
    def __init__(self, features=None):
        super().__init__()
        torch.manual_seed(0)
        self.features = features or nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), Residual(), Dense())
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(functional.relu(self.features(x)).mean((2, 3)))


def network(features=None):
    model = Network(features).eval()
    with torch.no_grad():
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_var.uniform_(0.5, 2)
                norm.running_mean.uniform_(-1, 1)
    return model


@pytest.fixture
def unfollowed(monkeypatch):
    """Blocks that were run without following them."""
    taken = []
    from xai_med.backend.tracing.tracer import Tracer

    adopt = Tracer.adopt

    def noted(self, block, module, signal, output):
        taken.append(module)
        return adopt(self, block, module, signal, output)

    monkeypatch.setattr(Tracer, "adopt", noted)
    return taken


def same(found, expected):
    return (
        np.array_equal(found.maps, expected.maps)
        and found.layer == expected.layer
        and [(check.key, check.value) for check in found.checks] == [(c.key, c.value) for c in expected.checks]
    )


@pytest.mark.parametrize("method", METHODS)
def test_later_explanations_are_those_of_a_model_that_was_never_seen(method, unfollowed):
    model, x = network(), image(2, 1, 8, 8)
    first = explain(model, x, method=method, target="all")
    assert unfollowed == []
    later = explain(model, x, method=method, target="all")
    assert unfollowed[:1] == [model.features]
    fresh = explain(copy.deepcopy(model), image(2, 1, 8, 8), method=method, target="all")
    assert same(later, first)
    assert same(later, fresh)
    other = image(2, 1, 8, 8, seed=5)
    assert same(
        explain(model, other, method=method, target=1), explain(copy.deepcopy(model), other, method=method, target=1)
    )


def test_weights_may_change_as_only_operations_are_remembered(unfollowed):
    model, x = network(), image(1, 1, 8, 8)
    explain(model, x, method="cam", target="all")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    found = explain(model, x, method="cam", target="all")
    assert unfollowed == [model.features]
    assert same(found, explain(copy.deepcopy(model), x, method="cam", target="all"))


@pytest.mark.parametrize("layer", ["features.0", "features.2", "features.2.relu", "features.3", "features"])
@pytest.mark.parametrize("method", ["grad_cam", "cam"])
def test_layers_inside_of_a_block_are_found_as_before(layer, method, unfollowed):
    model, x = network(), image(1, 1, 8, 8)
    explain(model, x, method="grad_cam", target=0)
    if method == "cam" and layer != "features":
        with pytest.raises(ValueError, match="layer"):
            explain(model, x, method=method, target=0, layer=layer)
        return
    try:
        expected = explain(copy.deepcopy(model), x, method=method, target=0, layer=layer)
    except ValueError as refused:
        with pytest.raises(type(refused)):
            explain(model, x, method=method, target=0, layer=layer)
        return
    found = explain(model, x, method=method, target=0, layer=layer)
    assert same(found, expected)


def test_methods_with_rules_follow_every_operation(unfollowed):
    model, x = network(), image(1, 1, 8, 8)
    for method, settings in (("lrp", {}), ("clear", {"relu": "deconv"})):
        explain(model, x, method="cam", target="all")
        unfollowed.clear()
        found = explain(model, x, method=method, target="all", **settings)
        assert unfollowed == []
        assert same(found, explain(copy.deepcopy(model), x, method=method, target="all", **settings))


def test_other_shapes_are_followed_once_more(unfollowed):
    model = network()
    for shape in ((1, 1, 8, 8), (1, 1, 9, 7), (2, 1, 8, 8)):
        explain(model, image(*shape), method="cam", target=0)
        assert unfollowed == []
    explain(model, image(1, 1, 9, 7), method="cam", target=0)
    assert unfollowed == [model.features]


def _attribute(model):
    model.features[2].scale = 1


def _part(model):
    model.features[2].relu = nn.Sigmoid()


def _nested_part(model):
    model.features[2].downsample = nn.Conv2d(4, 4, 1)


def _hook(model):
    model.features[2].conv.register_forward_hook(lambda module, args, output: output.flip(-1))


def _pre_hook(model):
    model.features[3].register_forward_pre_hook(lambda module, args: (args[0].flip(-1),))


def _own_forward(model):
    model.features[2].forward = lambda x: x.flip(-1)


def _own_method(model):
    model.features[3].join = lambda inputs: torch.cat(inputs, 1).flip(-1)


def _weight(model):
    model.features[0].weight = nn.Parameter(torch.full((4, 1, 3, 3), 0.3))


def _statistics(model):
    model.features[2].bn.running_mean = torch.full((4,), 0.3)


def _stride(model):
    model.features[0].stride = (2, 2)


def _dilation(model):
    model.features[0].padding, model.features[0].dilation = (2, 2), (2, 2)


CHANGES = (
    _weight,
    _statistics,
    _stride,
    _dilation,
    _attribute,
    _part,
    _nested_part,
    _hook,
    _pre_hook,
    _own_forward,
    _own_method,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_whatever_is_changed_in_the_model_is_noticed(change, method):
    def outcome(model):
        try:
            return explain(model, image(1, 1, 8, 8), method=method, target=1)
        except ValueError as refused:
            return str(refused)

    model = network()
    explain(model, image(1, 1, 8, 8), method=method, target=1)
    change(model)
    fresh = network()
    change(fresh)
    found, expected = outcome(model), outcome(fresh)
    assert found == expected if isinstance(expected, str) else same(found, expected)


@pytest.mark.parametrize(
    ("where", "name", "other"),
    [
        (functional, "relu", lambda x, inplace=False: x.flip(-1)),
        (Residual, "forward", lambda self, x: x.flip(-1)),
        (Dense, "join", lambda self, inputs: torch.cat(inputs, 1).flip(-1)),
        (nn.Conv2d, "forward", lambda self, x: x.repeat(1, 4, 1, 1)[:, :4].flip(-1)),
        (torch, "cat", lambda tensors, dim: torch.concat(tensors, dim).flip(-1)),
    ],
)
def test_functions_and_classes_that_are_changed_are_noticed(where, name, other, monkeypatch):
    def outcome(model):
        try:
            return explain(model, image(1, 1, 8, 8), method="cam", target=1)
        except ValueError as refused:
            return str(refused)

    model, fresh = network(), network()
    explain(model, image(1, 1, 8, 8), method="cam", target=1)
    monkeypatch.setattr(where, name, other)
    found, expected = outcome(model), outcome(fresh)
    assert found == expected if isinstance(expected, str) else same(found, expected)


class Body(nn.Module):
    """Whose forward is given."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.count, self.items_seen, self.rate = 0, [], 0.5
        self.gain = nn.Parameter(torch.ones(1))


def _random(self, x):
    return self.conv(x) if random.random() > 2 else x


def _clock(self, x):
    return self.conv(x) if time.time() > 0 else x


def _global(self, x):
    return self.conv(x) if SWITCH else x


def test_a_global_that_is_switched_is_noticed(monkeypatch):
    kind = type("Made", (Body,), {"forward": _global})
    made = kind()
    model, x = network(nn.Sequential(nn.Conv2d(1, 4, 1), made, nn.Conv2d(4, 12, 1))), image(1, 1, 6, 6)
    before = explain(model, x, method="cam", target=1)
    assert prove(made, TorchVocabulary()) is not None
    monkeypatch.setitem(globals(), "SWITCH", False)
    found = explain(model, x, method="cam", target=1)
    assert not np.array_equal(found.maps, before.maps)
    assert same(found, explain(copy.deepcopy(model), x, method="cam", target=1))


def _counter(self, x):
    self.count += 1
    return self.conv(x)


def _cache(self, x):
    self.last = self.conv(x)
    return self.last


def _value(self, x):
    return self.conv(x) if x.sum() > 0 else x


def _size(self, x):
    return self.conv(x) * x.shape[0]


def _list(self, x):
    return self.conv(x) if self.items_seen else x


def _dropout(self, x):
    return functional.dropout(self.conv(x), self.rate, True)


def _slice(self, x):
    return self.conv(x)[:, :, ::-1]


def _comprehension(self, x):
    return torch.cat([self.conv(x) for _ in range(2)], 1)


def _while(self, x):
    while self.count:
        x = self.conv(x)
    return x


def _try(self, x):
    try:
        return self.conv(x)
    except ValueError:
        return x


def _keyword(self, x, scale=1):
    return self.conv(x)


def _method_of_tensor(self, x):
    return self.conv(x).flip(-1)


def _several(self, x):
    return self.conv(x), x


def _training(self, x):
    return self.conv(x) if self.training else x


UNPROVEN = (
    _random, _clock, _counter, _cache, _value, _size, _list, _dropout, _slice, _comprehension, _while, _try,
    _keyword, _method_of_tensor, _several, _training,
)  # fmt: skip


@pytest.mark.parametrize("forward", UNPROVEN, ids=lambda forward: forward.__name__)
def test_code_that_might_do_something_else_next_time_is_not_proven(forward):
    kind = type("Made", (Body,), {"forward": forward})
    assert prove(kind().eval(), TorchVocabulary()) is None


def test_code_whose_source_is_not_there_is_not_proven():
    scope = {}
    exec("def forward(self, x):\n    return self.conv(x)", scope)
    kind = type("Made", (Body,), {"forward": scope["forward"]})
    assert prove(kind().eval(), TorchVocabulary()) is None


@pytest.mark.parametrize(
    "module",
    [
        Residual(),
        Dense(),
        Residual(downsample=nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))),
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.MaxPool2d(2), nn.SiLU(), nn.Identity(), nn.Dropout()),
    ],
    ids=["residual", "dense", "downsampled", "sequential"],
)
def test_usual_blocks_are_proven(module):
    assert prove(module.eval(), TorchVocabulary()) is not None


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.MaxPool2d(2, return_indices=True)),
        nn.Sequential(nn.BatchNorm2d(4, track_running_stats=False)),
        nn.Sequential(nn.Conv2d(4, 4, 1)).train(),
        nn.Sequential(nn.RReLU()),
        nn.Sequential(nn.Flatten()),
    ],
    ids=["indices", "statistics of the batch", "training", "random slopes", "no space"],
)
def test_parts_with_surprises_are_not_proven(module):
    if not module[0].__class__.__name__.startswith("Conv"):
        module.eval()
    assert prove(module, TorchVocabulary()) is None


def test_a_block_that_writes_into_what_it_read_is_followed_each_time(unfollowed):
    class Reusing(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Conv2d(1, 4, 1), nn.Linear(4, 2)
            self.body = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1))

        def forward(self, x):
            x = self.first(x)
            return self.head((self.body(x) + x).mean((2, 3)))

    torch.manual_seed(0)
    model, x = Reusing().eval(), image(1, 1, 6, 6)
    expected = explain(copy.deepcopy(model), x, method="grad_cam", target=1)
    for _ in range(3):
        assert same(explain(model, x, method="grad_cam", target=1), expected)
    assert model.body not in unfollowed


def test_a_model_is_forgotten_when_nobody_holds_it():
    model = network()
    explain(model, image(1, 1, 8, 8), method="cam", target=0)
    explain(model, image(1, 1, 8, 8), method="cam", target=0)
    references = [weakref.ref(part) for part in model.modules()]
    del model
    gc.collect()
    assert [reference() for reference in references] == [None] * len(references)


def test_a_module_that_refers_to_itself_is_forgotten_too():
    body = Residual()
    object.__setattr__(body, "outer", body)
    body.callback = body.forward
    assert prove(body.eval(), TorchVocabulary()) is None


def test_classes_are_as_before(unfollowed):
    model, x = network(), image(1, 1, 8, 8)
    explain(model, x, method="cam", target=0)
    explain(model, x, method="cam", target=0)
    assert unfollowed
    assert [kind for kind in BLOCKS.classes if "__call__" in vars(kind)] == []


def test_an_error_inside_of_a_block_is_told_and_leaves_nothing(unfollowed):
    model, x = network(), image(1, 1, 8, 8)
    explain(model, x, method="cam", target=0)
    model.features[3].b.weight = nn.Parameter(torch.ones(4, 9, 3, 3))
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        explain(model, x, method="cam", target=0)
    model.features[3].b.weight = nn.Parameter(torch.ones(4, 8, 3, 3))
    assert same(explain(model, x, method="cam", target=0), explain(copy.deepcopy(model), x, method="cam", target=0))


def test_verification_follows_and_passes():
    model, x = network(), image(1, 1, 8, 8)
    for _ in range(2):
        assert explain(model.double(), x.double(), method="gradient", target=0, verify=True).all_passed
