"""The reverse pass for many classes gives what PyTorch's own engine gives, on every operation it has a formula for."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from xai_med import explain  # noqa: E402
from xai_med.errors import GradientError  # noqa: E402
from xai_med_torch.pullbacks import pullbacks  # noqa: E402
from xai_med_torch.reverse import find_ways, pull_back_together, suits  # noqa: E402
from xai_med_torch.reverse.local import LOCAL  # noqa: E402
from xai_med_torch.reverse.ways import kind_of  # noqa: E402


def _settled(model, shape):
    """Batch norms with statistics that are neither 0 nor 1."""
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(shape) * 2 + 0.5)
    return model.eval()


class _Inplace(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = functional.relu_(self.a(x))
        y = self.b(x)
        y += x
        return functional.relu(y, inplace=True).mean((2, 3))


class _Dense(nn.Module):
    """Slices of a concatenation are consumed again and again."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(3 + 2 * i), nn.ReLU(), nn.Conv2d(3 + 2 * i, 2, 3, padding=1)) for i in range(4)
        )

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=-3)
        return functional.adaptive_avg_pool2d(x, 1).flatten(1)


class _Gate(nn.Module):
    """Both factors of a product depend on the image, and one is broadcast."""

    def __init__(self):
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 5, 3), nn.Linear(5, 5)

    def forward(self, x):
        x = self.conv(x)
        gate = torch.sigmoid(self.gate(x.mean((2, 3))))
        return ((x * gate[:, :, None, None]) * 0.5 - x).mean(dim=(-2, -1), keepdim=True).flatten(1)


class _Split(nn.Module):
    """An operation with several outputs, of which one is not used."""

    def forward(self, x):
        first, _, third = x.split(1, dim=1)
        return torch.stack([(first * 2).mean((1, 2, 3)), (first - third).square().mean((1, 2, 3))], 1)


def _pools():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, dilation=2),
        nn.MaxPool2d(2),
        nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
        nn.AdaptiveAvgPool2d((2, 3)),
        nn.Flatten(),
        nn.Linear(24, 7),
        nn.ReLU(),
        nn.Linear(7, 3, bias=False),
    )


NETWORKS = {
    "in place": (_Inplace, (2, 3, 9, 8)),
    "dense": (_Dense, (2, 3, 8, 8)),
    "gate": (_Gate, (3, 3, 9, 9)),
    "split": (_Split, (2, 3, 5, 5)),
    "pools": (_pools, (2, 3, 24, 30)),
    "grouped and depthwise": (
        lambda: nn.Sequential(nn.Conv2d(4, 8, 3, groups=4, stride=2), nn.Conv2d(8, 6, 3, groups=2), nn.Flatten()),
        (1, 4, 11, 11),
    ),
    "transposed": (
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 3, stride=2, output_padding=1), nn.Flatten(2), nn.Flatten()),
        (1, 3, 4, 5),
    ),
    "signal": (
        lambda: nn.Sequential(nn.Conv1d(2, 4, 5, padding=2), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten()),
        (2, 2, 16),
    ),
    "volume": (
        lambda: nn.Sequential(
            nn.Conv3d(1, 3, 3), nn.BatchNorm3d(3, affine=False), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten()
        ),
        (2, 1, 6, 7, 5),
    ),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_all_classes_at_once_equal_the_engine_one_by_one(name, dtype):
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    model = _settled(build(), shape).to(dtype)
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    output = model(x.clone())
    cotangents = torch.randn(4, *output.shape, dtype=dtype)
    ways = find_ways(output, x)
    with torch.no_grad():
        found = pull_back_together(ways, cotangents)
    expected = torch.stack([torch.autograd.grad(output, x, each, retain_graph=True)[0] for each in cotangents])
    assert found.shape == expected.shape
    largest = float(expected.abs().max())
    assert largest > 0
    assert float((found - expected).abs().max()) <= (1e-12 if dtype is torch.float64 else 1e-5) * largest


def test_every_formula_is_met_by_one_of_the_networks_or_methods():
    torch.manual_seed(0)
    met = {"torch::autograd::CopyBackwards", "RectifiedCotangentBackward", "ReshapeAliasBackward", "UnsafeViewBackward"}
    for build, shape in NETWORKS.values():
        x = torch.randn(shape, requires_grad=True)
        met |= {kind_of(node) for node in find_ways(_settled(build(), shape)(x.clone()), x).order}
    assert set(LOCAL) <= met


def _written(x):
    """Slices written in place, through views."""
    x[:, 0] = x[:, 1] * 2
    x[:, 2].mul_(3)
    return x.flatten(1)


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.clone().copy_(x * 2),  # CopyBackwards, of which the overwritten values receive nothing
        lambda x: torch.stack([x.mean(), (x * x).mean(dim=()), x.sum()]),  # over all axes
        lambda x: torch.cat([x.float().double() * 2 + x, x * torch.ones(4, dtype=torch.float32)]),  # other dtypes
        lambda x: _written(x.clone()),
        lambda x: (x @ x.transpose(-1, -2)).view(x.shape[0], -1),  # a view that autograd calls unsafe
        lambda x: torch.stack([x, x * x]).transpose(0, 1)[:, ::2].flip(-1),
    ],
)
def test_operations_without_a_formula_are_asked_one_by_one(write):
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    output = write(x)
    cotangents = torch.randn(3, *output.shape, dtype=torch.float64)
    with torch.no_grad():
        found = pull_back_together(find_ways(output, x), cotangents)
    expected = torch.stack([torch.autograd.grad(output, x, each, retain_graph=True)[0] for each in cotangents])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_the_caller_s_cotangents_are_not_written():
    x = torch.randn(1, 3, 4, 4, requires_grad=True)
    output = functional.relu((x * 2 + x).clone())
    cotangents = torch.randn(3, *output.shape)
    before = cotangents.clone()
    pull_back_together(find_ways(output, x), cotangents)
    assert torch.equal(cotangents, before)


@pytest.mark.parametrize("count", [1, 2, 3, 70])
def test_chunks_of_classes_hand_on_every_class_in_order(count):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, count))
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    output = model(x)
    seeds = [functional.one_hot(torch.tensor([k, k]), count).float() for k in range(count)]
    found = list(pullbacks(output, iter(seeds), x, differentiable=False, has_hooks=False))
    assert len(found) == count
    for seed, result in zip(seeds, found, strict=True):
        (expected,) = torch.autograd.grad(model(x), x, seed)
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)
        assert result.is_contiguous()


def test_cotangents_are_taken_as_they_are_needed():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 200))
    x = torch.randn(1, 3, 8, 8, requires_grad=True)
    taken = []

    def seeds():
        for k in range(200):
            taken.append(k)
            yield torch.eye(200)[k : k + 1]

    results = pullbacks(model(x), seeds(), x, differentiable=False, has_hooks=False)
    next(results)
    assert len(taken) < 200


def test_a_tensor_that_was_overwritten_behind_the_graph_is_refused():
    x = torch.randn(1, 2, 4, 4, requires_grad=True)
    middle = functional.relu(x * 2)
    output = functional.relu(middle).flatten(1)
    middle.detach().add_(1)
    with pytest.raises(GradientError, match="modified by an inplace operation"):
        list(pullbacks(output, iter(torch.randn(3, *output.shape)), x, differentiable=False, has_hooks=False))


def test_a_function_written_in_python_is_left_to_the_engine():
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, cotangent):
            return cotangent * 2

    x = torch.randn(1, 4, requires_grad=True)
    output = Doubled.apply(x.clone()) * 3
    assert not suits(find_ways(output, x))
    (first, _) = pullbacks(output, iter(torch.ones(2, 1, 4)), x, differentiable=False, has_hooks=False)
    torch.testing.assert_close(first, torch.full((1, 4), 6.0))


@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
def test_operands_of_another_dtype_are_converted_on_the_way_back(weights):
    x = torch.randn(1, 2, 4, 4, requires_grad=True)
    output = functional.relu(x * torch.full((4,), 2.0, dtype=weights) + x).flatten(1)
    cotangents = torch.randn(3, *output.shape, dtype=output.dtype)
    with torch.no_grad():
        found = pull_back_together(find_ways(output, x), cotangents)
    expected = torch.stack([torch.autograd.grad(output, x, each, retain_graph=True)[0] for each in cotangents])
    assert found.dtype is expected.dtype is torch.float32
    torch.testing.assert_close(found, expected)


def test_complex_numbers_are_left_to_the_engine():
    x = torch.randn(2, 1, 4, 4, requires_grad=True)
    phases = torch.exp(1j * torch.arange(4.0))
    output = torch.view_as_real((x * phases) * phases).flatten(1)
    assert not suits(find_ways(output, x))
    cotangents = torch.randn(3, *output.shape)
    found = torch.stack(list(pullbacks(output, iter(cotangents), x, differentiable=False, has_hooks=False)))
    expected = torch.stack([_real_gradient(x, phases, each) for each in cotangents])
    torch.testing.assert_close(found, expected)


def _real_gradient(x, phases, cotangent):
    """By hand: the real part of the conjugated factor times the cotangent as a complex number."""
    given = torch.view_as_complex(cotangent.reshape(*x.shape, 2))
    return (given * (phases * phases).conj()).real


def test_hooks_of_a_model_see_every_gradient_and_the_maps_stay_right():
    torch.manual_seed(0)
    seen = []

    class Hooked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 3, 3), nn.Linear(3, 5)

        def forward(self, x):
            features = self.conv(x).relu()
            features.register_hook(lambda gradient: seen.append(gradient.shape))
            return self.head(features.mean((2, 3)))

    model, x = Hooked().eval(), np.random.default_rng(0).normal(size=(2, 1, 9, 9)).astype("float32")
    found = explain(model, x, method="gradient", target="all").attribution
    assert len(seen) == 5
    images = torch.tensor(x, requires_grad=True)
    for k in range(5):
        (expected,) = torch.autograd.grad(model(images)[:, k].sum(), images)
        np.testing.assert_allclose(found[:, k], expected.numpy(), rtol=1e-4, atol=1e-6)


def test_random_state_and_gradients_of_the_caller_stay_as_they_are():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()
    state = torch.get_rng_state()
    explain(model, torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1)), method="gradient", target="all")
    assert torch.equal(state, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled()
