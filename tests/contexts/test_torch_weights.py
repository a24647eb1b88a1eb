"""Weights in PyTorch that are computed, adapted, tied, pruned, normalised or handed in."""

import warnings

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.func import functional_call  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from torch.nn.utils import parametrizations, prune  # noqa: E402

from contexts.judging import assert_right, assert_right_or_refused  # noqa: E402
from contexts.reference_network import run_twice, spectrally_normalised  # noqa: E402
from contexts.torch_reference import Network, native, with_body  # noqa: E402

WEIGHTED = ("conv1", "conv2", "fc")


def changed(change, names=WEIGHTED):
    """A network whose layers of these names went through a function."""
    model = Network()
    for name in names:
        change(model.get_submodule(name))
    return model


def old_hooks(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated for the parametrisation
        torch.nn.utils.weight_norm(layer)


@pytest.mark.parametrize(
    "change",
    [
        parametrizations.weight_norm,
        old_hooks,
        lambda layer: prune.identity(layer, "weight"),
        lambda layer: nn.utils.parametrize.register_parametrization(layer, "weight", nn.Identity()),
    ],
    ids=["weight norm", "weight norm by hooks", "pruned", "parametrised"],
)
def test_a_weight_that_is_computed_is_the_weight(method, change):
    model = changed(change)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert_right(model, method, native())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("is_new", [True, False], ids=["parametrisation", "hooks"])
def test_spectral_norm(method, is_new):
    def change(layer):
        if is_new:
            parametrizations.spectral_norm(layer, n_power_iterations=1000)
            return
        torch.nn.utils.spectral_norm(layer, n_power_iterations=1000)
        layer.train()
        layer(torch.zeros(1, 4, *((9, 9) if layer.weight.ndim == 4 else ()), dtype=torch.float64))
        layer.eval()

    model = changed(change, ("conv2", "fc"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert_right(model, method, native(), make=spectrally_normalised, share=1e-4)  # power iteration converges slowly
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


class Adapted(nn.Module):
    """A layer and a low-rank addition that is still zero, as before the first step of its training."""

    def __init__(self, base, down, up):
        super().__init__()
        self.base, self.down, self.up = base, down.double(), up.double()
        base.requires_grad_(requires_grad=False)
        nn.init.zeros_(up.weight)

    def forward(self, x):
        return self.base(x) + 0.5 * self.up(self.down(x))


def test_a_low_rank_adapter_of_a_convolution(method):
    model = Network()
    model.conv2 = Adapted(model.conv2, nn.Conv2d(4, 2, 1, bias=False), nn.Conv2d(2, 4, 1, bias=False))
    assert_right(model, method, native())


def test_weights_held_by_two_layers(method):
    model = with_body(lambda s, x: F.relu(s.conv3(F.relu(s.conv2(F.max_pool2d(F.relu(s.norm(s.conv1(x))), 2))))))
    model.conv3 = nn.Conv2d(4, 4, 3, padding=1)
    model.conv3.weight, model.conv3.bias = model.conv2.weight, model.conv2.bias
    assert_right(model, method, native(), make=run_twice)


def test_one_module_under_two_names(method):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = Network()
            self.other = self.one

        def forward(self, x):
            return self.other(x)

    assert_right(Shared(), method, native())


class Wrapper(nn.Module):
    """As sharding libraries wrap: attributes are those of the wrapped module."""

    def __init__(self, wrapped):
        super().__init__()
        self._wrapped = wrapped

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._wrapped, name)

    def forward(self, *args, **kwargs):
        return self._wrapped(*args, **kwargs)


def test_a_wrapper_that_passes_everything_on(method):
    assert_right(Wrapper(Network()), method, native())


def test_weights_that_are_handed_in(method):
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Network()

        def forward(self, x):
            weights = {name: weight * 1.0 for name, weight in self.inner.named_parameters()}
            return functional_call(self.inner, weights, (x,))

    assert_right(Functional(), method, native())


def test_methods_of_layers_called_by_their_name(method):
    def body(model, x):
        x = F.relu(model.norm.forward(model.conv1.forward(x)))
        return F.relu(model.conv2.forward(F.max_pool2d(x, 2)))

    assert_right(with_body(body), method, native())


def test_frozen_weights_and_weights_that_are_hooked(method):
    model, fired = Network(), []
    for parameter in model.parameters():
        parameter.register_hook(fired.append)
        parameter.register_post_accumulate_grad_hook(fired.append)
    assert_right(model, method, native())
    assert_right(model.requires_grad_(requires_grad=False), method, native())
    assert not fired


def test_a_quantised_head_is_refused_before_pytorch_warns(method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao.quantization is deprecated
        model = torch.ao.quantization.quantize_dynamic(Network().float(), {nn.Linear})
    derivative = "PyTorch has no derivative for an operation of the model, as of quantised layers"
    refused = {
        "cam": "use method='grad_cam'|have none|one linear",
        "grad_cam": derivative,
        "gradient": derivative,
        "lrp": "have none for unknown: linear_dynamic in 'fc'",
        "clear": derivative,
    }
    assert_right_or_refused(model, method, native(dtype=torch.float32), refused)
