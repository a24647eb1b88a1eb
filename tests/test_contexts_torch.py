"""Whatever the caller's context in PyTorch, and architectures that only PyTorch has."""

import copy
import gc
import pickle
import re
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from xai_med import attribute, explain  # noqa: E402
from xai_med.errors import (  # noqa: E402
    DtypeError,
    LayerError,
    ModelError,
    NonFiniteError,
    NotApplicableError,
    OutputError,
    XaiMedError,
)
from xai_med.registry import get_backend  # noqa: E402
from xai_med.testing import oracle  # noqa: E402
from xai_med.testing.networks import NETWORKS, example_input  # noqa: E402

METHODS = ("cam", "grad_cam", "gradient", "lrp", "clear")


def network(name="vgg_like", **options):
    """Build a network and draw images for it."""
    blueprint = NETWORKS[name]()
    return get_backend("torch").build(blueprint, **options), torch.from_numpy(example_input(blueprint))


@pytest.fixture(params=METHODS)
def method(request):
    """Each method in turn."""
    return request.param


@pytest.fixture
def expected(method):
    """The map in no special context."""
    model, x = network()
    return explain(model, x, method=method, target=1).maps


def assert_close(found, wanted, share=1e-5):
    """Compare within a share of the range."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=share * max(np.ptp(wanted), 1e-30))


class Sequence(nn.Module):
    """A convolutional body and a head given as a function of (body's output)."""

    def __init__(self, head, *, channels=4, classes=3):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.conv = nn.Conv2d(2, channels, 3, padding=1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(channels, classes)
        self.head = head
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
        self.eval()

    def forward(self, x):
        return self.head(self, self.relu(self.conv(x)))


def pooled(model, features):
    """Global average pool and a linear layer."""
    return model.fc(features.mean((2, 3)))


def right_or_refused(call, saying=r".{40}"):
    """Return a result, or None where it was refused in words that `saying` matches."""
    try:
        return call()
    except XaiMedError as error:
        refusal = str(error)
    assert re.search(saying, refusal)
    return None


def images(count=2, size=(7, 6), dtype=torch.float32):
    """Draw images of two channels."""
    return torch.randn(count, 2, *size, generator=torch.Generator().manual_seed(9), dtype=dtype)


# ---- contexts


def test_frozen_parameters_change_nothing(method, expected):
    model, x = network()
    model.requires_grad_(requires_grad=False)
    assert_close(explain(model, x, method=method, target=1).maps, expected)
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradient_contexts_change_nothing_and_stay(method, expected, context):
    model, x = network()
    with context():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        result = explain(model, x, method=method, target=1)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    assert_close(result.maps, expected)


def test_images_made_under_inference_mode(method, expected):
    model, x = network()
    with torch.inference_mode():
        x = x.clone()
        inside = explain(model, x, method=method, target=1)
    assert x.is_inference()
    assert_close(inside.maps, expected)
    assert_close(explain(model, x, method=method, target=1).maps, expected)


def test_a_model_made_under_inference_mode_is_refused(method):
    with torch.inference_mode():
        model, x = network()
    with pytest.raises(ModelError, match="was created under inference_mode, which forbids gradients"):
        explain(model, x, method=method)


def test_images_that_are_computed_and_require_a_gradient(method, expected):
    model, x = network()
    leaf = (x / 2).requires_grad_()
    computed = leaf * 2
    assert_close(explain(model, computed, method=method, target=1).maps, expected)
    assert computed.requires_grad
    assert leaf.grad is None
    computed.sum().backward()  # the caller's graph is whole
    assert leaf.grad is not None


def test_images_that_are_views(method):
    model, x = network()
    one = x[:1].expand(3, -1, -1, -1)
    assert_close(
        explain(model, one, method=method, target=1).maps, explain(model, one.clone(), method=method, target=1).maps
    )
    turned = x.transpose(2, 3).contiguous().transpose(2, 3)
    assert not turned.is_contiguous()
    assert_close(explain(model, turned, method=method, target=1).maps, explain(model, x, method=method, target=1).maps)
    flipped = np.ascontiguousarray(x.numpy()[..., ::-1])[..., ::-1]
    assert_close(explain(model, flipped, method=method, target=1).maps, explain(model, x, method=method, target=1).maps)


@pytest.mark.parametrize("name", ["vgg_like", "resnet_like", "densenet_like"])
def test_channels_last(method, name):
    model, x = network(name)
    wanted = explain(model, x, method=method, target=1).maps
    model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    assert_close(explain(model, x, method=method, target=1).maps, wanted)
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_float64_is_computed_in_float64(method, expected):
    model, x = network(dtype="float64")
    result = explain(model, x.double(), method=method, target=1)
    assert result.attribution.dtype == np.float64
    assert result.dtype == "float64"
    assert_close(result.maps, expected)


def test_a_bfloat16_model_gives_a_rough_map(method, expected):
    model, x = network()
    result = explain(model.bfloat16(), x.bfloat16(), method=method, target=1)
    assert np.isfinite(result.maps).all()
    assert result.dtype == "bfloat16"
    if method != "gradient":  # gates flip in bfloat16
        assert np.corrcoef(result.maps.ravel(), expected.ravel())[0, 1] > 0.95


def test_images_of_another_dtype_than_the_model_are_refused(method):
    model, x = network()
    with pytest.raises(DtypeError, match=r"images are torch.float64 and the model's weights torch.float32; give x.to"):
        explain(model, x.double(), method=method)


def test_autocast_changes_nothing(method, expected):
    model, x = network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = explain(model, x, method=method, target=1)
        assert torch.is_autocast_enabled("cpu")
    assert result.dtype == "float32"
    assert_close(result.maps, expected)


def test_float16_overflow_is_refused(method):
    class Overflows(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1, bias=False)
            self.fc = nn.Linear(2, 2, bias=False)
            with torch.no_grad():
                self.conv.weight.fill_(6e4)
                self.fc.weight.copy_(torch.tensor([[1.0, 1.0], [0.5, 0.5]]))

        def forward(self, x):
            return self.fc(self.conv(x).mean((2, 3)))

    model, x = Overflows().half(), torch.full((1, 1, 4, 4), 10.0, dtype=torch.float16)
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        explain(model, x, method=method, target="all")


def test_a_float16_model_that_does_not_overflow_is_right(method, expected):
    model, x = network()
    maps = explain(model.half(), x.half(), method=method, target=1).maps
    assert np.isfinite(maps).all()
    if method != "gradient":
        assert np.corrcoef(maps.ravel(), expected.ravel())[0, 1] > 0.99


def test_a_default_dtype_and_anomaly_mode_change_nothing(method, expected):
    model, x = network()
    torch.set_default_dtype(torch.float64)
    try:
        result = explain(model, x, method=method, target=1)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_close(result.maps, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anomaly mode warns that it is slow
        with torch.autograd.set_detect_anomaly(True):
            assert_close(explain(model, x, method=method, target=1).maps, expected)


def test_deterministic_algorithms_are_enough(method, expected):
    model, x = network()
    torch.use_deterministic_algorithms(True)
    try:
        result = explain(model, x, method=method, target=1)
    finally:
        torch.use_deterministic_algorithms(False)
    assert_close(result.maps, expected)


# ---- the model afterwards


def test_the_model_can_be_pickled_after_the_call(method):
    model, x = network()
    result = explain(model, x, method=method, target=1)
    twin = pickle.loads(pickle.dumps(model))
    assert_close(explain(twin, x, method=method, target=1).maps, result.maps)


def test_the_number_of_living_tensors_is_constant_over_twenty_calls(method):
    model, x = network()

    def living():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    explain(model, x, method=method)
    before = living()
    results = [explain(model, x, method=method) for _ in range(20)]
    assert living() == before
    assert len(results) == 20


def test_no_global_hook_is_left(method):
    from torch.nn.modules import module

    def counts():
        return len(module._global_forward_hooks), len(module._global_forward_pre_hooks)

    model, x = network()
    before = counts()
    explain(model, x, method=method)
    assert counts() == before
    with pytest.raises(XaiMedError):
        explain(model, x[0], method=method)
    assert counts() == before


def test_the_callers_own_hooks_run_and_may_change_the_output(method):
    model, x = network()
    plain = explain(model, x, method=method, target=1)
    seen = []
    handle = model.get_submodule("conv2").register_forward_hook(
        lambda _module, _inputs, output: seen.append(1) or output * 2
    )
    hooked = explain(model, x, method=method, target=1)
    handle.remove()
    assert seen
    logits = model(x)
    assert not np.allclose(hooked.scores, plain.scores)
    np.testing.assert_allclose(plain.scores[:, 0], logits[:, 1].detach(), rtol=1e-5)


def test_gradients_through_attribute_reach_the_callers_parameters():
    model, x = network("resnet_like")
    for name in ("cam", "grad_cam", "gradient"):
        model.zero_grad()
        attribute(model, x, method=name, target=1, differentiable=True).square().sum().backward()
        assert model.get_submodule("conv1").weight.grad.abs().sum() > 0, name
    for name in ("lrp", "clear"):
        with pytest.raises(NotApplicableError, match="not differentiable"):
            attribute(model, x, method=name, target=1, differentiable=True)


# ---- functional and unusual code


def test_a_convolution_on_a_bare_parameter_is_as_the_module(method):
    class Bare(Sequence):
        def __init__(self):
            super().__init__(pooled)
            self.weight = nn.Parameter(self.conv.weight.detach().clone())
            self.bias = nn.Parameter(self.conv.bias.detach().clone())

        def forward(self, x):
            return self.head(self, F.relu(F.conv2d(x, self.weight, self.bias, 1, padding=1)))

    x = images()
    assert_close(
        explain(Bare(), x, method=method, target=1).maps,
        explain(Sequence(pooled), x, method=method, target=1).maps,
        1e-6,
    )


@pytest.mark.parametrize(
    "pool",
    [
        lambda a: a.mean((2, 3)),
        lambda a: a.mean(dim=[-1, -2]),
        lambda a: torch.mean(a, (2, 3)),
        lambda a: a.mean(3).mean(2),
        lambda a: a.flatten(2).mean(2),
        lambda a: a.flatten(2).mean(-1),
        lambda a: F.adaptive_avg_pool2d(a, 1).flatten(1),
        lambda a: F.adaptive_avg_pool2d(a, (1, 1))[:, :, 0, 0],
        lambda a: F.adaptive_avg_pool2d(a, 1).squeeze(-1).squeeze(-1),
        lambda a: F.avg_pool2d(a, a.shape[2:]).view(len(a), -1),
        lambda a: a.view(a.shape[0], a.shape[1], -1).mean(2),
        lambda a: a.sum((2, 3)) / 42,
        lambda a: torch.einsum("nchw->nc", a) / 42,
    ],
    ids=[
        "mean",
        "negative axes",
        "torch.mean",
        "mean of mean",
        "flatten mean",
        "flatten last",
        "adaptive",
        "adaptive index",
        "adaptive squeeze",
        "full window",
        "view mean",
        "sum over count",
        "einsum",
    ],
)
def test_every_way_to_write_the_global_pool_is_right_or_refused(method, pool):
    x = images()
    wanted = explain(Sequence(pooled), x, method=method, target=1)
    result = right_or_refused(lambda: explain(Sequence(lambda model, a: model.fc(pool(a))), x, method=method, target=1))
    if result is None:
        return
    if result.rules[-1:] == ("pulled back from: logits",):
        return  # without class maps CLEAR pulls the logits themselves back, and says so
    assert_close(result.maps, wanted.maps)


@pytest.mark.parametrize(
    "head",
    [
        lambda m, a: m.fc(a.amax((2, 3))),
        lambda m, a: m.fc(F.adaptive_max_pool2d(a, 1).flatten(1)),
        lambda m, a: m.fc(a.flatten(2).max(2).values),
        lambda m, a: m.fc(a[:, :, 1:].mean((2, 3))),  # a mean over part of the features
        lambda m, a: m.fc(a.mean(2).amax(2)),
        lambda m, a: m.fc(torch.logsumexp(a, (2, 3))),
        lambda m, a: m.fc((a * torch.sigmoid(a)).mean((2, 3))),
        lambda m, a: m.fc(a.mean((2, 3))) + m.fc(a.amax((2, 3))),
        lambda m, a: m.fc(torch.relu(a.mean((2, 3)) - 0.3)),
        lambda m, a: m.fc(F.normalize(a.mean((2, 3)))),
        lambda m, a: m.fc(a.mean((2, 3))) * 2,
        lambda m, a: m.fc(a.mean((2, 3)) * 2),
        lambda m, a: m.fc(a.mean((2, 3))) / 0.1,
        lambda m, a: m.fc(a.mean((2, 3)))[:, [2, 1, 0]],
        lambda m, a: m.fc(a.permute(0, 2, 3, 1)).mean((1, 2)),
        lambda m, a: m.fc(a.permute(0, 2, 3, 1).mean((1, 2))),
    ],
    ids=[
        "amax",
        "adaptive max",
        "max values",
        "part",
        "mean and max",
        "logsumexp",
        "gated",
        "two pools",
        "hidden relu",
        "normalise",
        "scaled logits",
        "scaled features",
        "temperature",
        "permuted classes",
        "linear before mean",
        "channels last mean",
    ],
)
def test_a_cam_adds_up_to_its_logit_or_is_refused(head):
    model, x = Sequence(head), images()
    result = right_or_refused(lambda: explain(model, x, target=[1, 2]), "use method='grad_cam'")
    if result is None:
        return
    logits = model(x).detach().numpy()[np.arange(2), [1, 2]]
    np.testing.assert_allclose(result.scores[:, 0], logits, rtol=1e-5)
    rest = result.scores[:, 0] - result.attribution.reshape(2, 1, -1).mean(2)[:, 0]
    bias = model.fc.bias.detach().numpy()[[1, 2]]
    np.testing.assert_allclose(rest, bias, atol=1e-5)  # what is left over is the bias of this very class


def test_relevance_through_residuals_written_as_functions(method):
    def residual(model, a):
        h = a + F.relu(F.conv2d(a, torch.ones(4, 4, 1, 1) * 0.2))
        return model.fc(h.mean((2, 3)))

    def in_place(model, a):
        h = F.conv2d(a, torch.ones(4, 4, 1, 1) * 0.2)  # not negative
        h += a
        return model.fc(h.mean((2, 3)))

    x = images()
    first, second = (explain(Sequence(head), x, method=method, target=1).maps for head in (residual, in_place))
    assert_close(second, first)


def test_relevance_of_a_functional_residual_equals_two_hand_written_rules():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(1, 2, bias=False)
            with torch.no_grad():
                self.fc.weight.copy_(torch.tensor([[2.0], [-1.0]]))

        def forward(self, x):
            h = torch.relu(x)
            return self.fc((h + 3 * h).mean((2, 3)))

    x = torch.rand(1, 1, 3, 4, dtype=torch.float64) + 0.1
    for target, weight in ((0, 2.0), (1, -1.0)):
        result = explain(Residual().double(), x, method="lrp", target=target, epsilon=0)
        np.testing.assert_allclose(result.attribution[0, 0], 4 * x[0].numpy() / 12 * weight, rtol=1e-12)
        np.testing.assert_allclose(result.attribution.sum(), result.scores[0, 0], rtol=1e-12)


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


class Tokens(nn.Module):
    """A small vision transformer."""

    def __init__(self, *, class_token):
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(2, 8, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, 8)) if class_token else None
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8))
        self.head = nn.Linear(8, 3)
        self.eval()

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
        tokens = self.norm(tokens)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        tokens = tokens + self.mlp(tokens)
        return self.head(tokens[:, 0] if self.token is not None else tokens.mean(1))


@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("layer", ["norm", "mlp"])
def test_a_layer_of_tokens_is_refused(class_token, layer):
    with torch.random.fork_rng():
        model = Tokens(class_token=class_token)
    with pytest.raises(LayerError, match=r"which is not \(N, C, \*space\) with the 2 space axes of the input; choose"):
        explain(model, images(size=(6, 8)), method="grad_cam", layer=layer)


@pytest.mark.parametrize("class_token", [False, True])
def test_a_transformer_is_explained_by_its_gradient_and_its_patches(class_token):
    with torch.random.fork_rng():
        model = Tokens(class_token=class_token).double()
    x = images(1, (6, 8), torch.float64)
    gradient = explain(model, x, method="gradient", target=1).attribution[0, 0]
    step = 1e-6
    for place in ((0, 1, 2), (1, 5, 7)):
        shifted = [x.clone(), x.clone()]
        for sign, each in zip((1, -1), shifted, strict=True):
            each[(0, *place)] += sign * step
        difference = (model(shifted[0]) - model(shifted[1]))[0, 1].item() / (2 * step)
        assert gradient[place] == pytest.approx(difference, rel=1e-5, abs=1e-8)
    assert explain(model, x, method="grad_cam", layer="patches", target=1).attribution.shape == (1, 1, 3, 4)
    with pytest.raises(XaiMedError, match="have none for"):
        explain(model, x, method="lrp", target=1)
    if class_token:
        with pytest.raises(XaiMedError, match="use method='grad_cam'"):
            explain(model, x, target=1)


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


def test_a_quantised_head_is_refused_or_not_needed(method):
    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Conv2d(2, 4, 3)
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            return self.fc(torch.relu(self.body(x)).mean((2, 3)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao.quantization is deprecated
        model = torch.ao.quantization.quantize_dynamic(Split().eval(), {nn.Linear})
        with pytest.raises(XaiMedError) as caught:
            explain(model, images(), method=method, target=1)
    assert len(str(caught.value)) > 40


@pytest.mark.parametrize("activation", [nn.SiLU, nn.GELU, nn.ELU, nn.ReLU6])
def test_a_relu_rule_refuses_other_rectifiers(activation):
    model = Sequence(lambda m, a: pooled(m, a))
    model.relu = activation()
    with pytest.raises(XaiMedError, match=r"have none for activation: \w+ in 'relu'"):
        explain(model, images(), method="clear", relu="guided")
    assert explain(model, images(), method="clear").maps.any()


@pytest.mark.parametrize(
    "rectify",
    [
        lambda a: a.clamp(min=0),
        lambda a: torch.clamp_min(a, 0),
        lambda a: torch.maximum(a, torch.zeros_like(a)),
        lambda a: torch.where(a > 0, a, torch.zeros_like(a)),
        lambda a: a * (a > 0),
        lambda a: F.threshold(a, 0.0, 0.0),
        lambda a: torch.max(a, torch.zeros(())),
        lambda a: F.leaky_relu(a, 0.0),
        lambda a: (a + a.abs()) / 2,
        lambda a: torch.relu_(a * 1),
        lambda a: a.masked_fill(a < 0, 0.0),
    ],
    ids="clamp clamp_min maximum where product threshold max leaky abs relu_ masked_fill".split(),
)
def test_every_way_to_rectify_is_right_or_refused(method, rectify):
    model, x = Sequence(pooled), images()
    wanted = explain(model, x, method=method, target=1)
    other = Sequence(lambda m, a: pooled(m, rectify(a)))
    other.relu = nn.Identity()
    result = right_or_refused(lambda: explain(other, x, method=method, target=1))
    if result is None:
        return
    if result.rules[-1:] == ("pulled back from: logits",):
        return
    assert_close(result.maps, wanted.maps)


@pytest.mark.parametrize("rule", ["guided", "deconv", "identity"])
@pytest.mark.parametrize(
    "rectify",
    [
        lambda a: a.clamp(min=0),
        lambda a: torch.maximum(a, torch.zeros_like(a)),
        lambda a: torch.where(a > 0, a, 0.0),
        lambda a: a * (a > 0),
        lambda a: a.masked_fill(a < 0, 0.0),
    ],
    ids="clamp maximum where product masked_fill".split(),
)
def test_a_rectifier_that_is_no_relu_is_not_given_the_plain_gradient_under_a_rule(rectify, rule):
    model, x = Sequence(pooled), images()
    wanted = explain(model, x, method="clear", relu=rule)
    other = Sequence(lambda m, a: pooled(m, rectify(a)))
    other.relu = nn.Identity()
    result = right_or_refused(lambda: explain(other, x, method="clear", relu=rule))
    if result is None:
        return
    assert_close(result.maps, wanted.maps)


def test_a_tensor_that_two_layers_use_gets_the_relevance_of_both():
    model, x = network("densenet_like", dtype="float64")
    result = explain(model, x.double(), method="lrp", target=0)
    blueprint = NETWORKS["densenet_like"]()
    assert_close(result.attribution[:, 0], oracle.relevance(blueprint, example_input(blueprint), target=0), 1e-9)


@pytest.mark.parametrize(
    "module",
    [
        nn.Dropout(0.5),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.RReLU(),
    ],
    ids=["dropout", "batch statistics", "rrelu"],
)
def test_randomness_and_batch_statistics_are_refused_or_absent(method, module):
    model = Sequence(lambda m, a: pooled(m, m.extra(a)))
    model.extra = module
    model.train()
    first = right_or_refused(
        lambda: explain(model, images(3), method=method, target=1), "statistics of the batch|have none"
    )
    if first is None:
        return
    alone = explain(model, images(3)[1:2], method=method, target=1)
    assert_close(first.maps[1:2], alone.maps)


@pytest.mark.parametrize(
    "noise",
    [
        lambda a: a + torch.randn_like(a),
        lambda a: a * torch.rand(a.shape),
        lambda a: F.dropout(a, 0.3),
        lambda a: F.dropout(a, 0.3, training=True),
        lambda a: a + torch.empty(a.shape).normal_(),
        lambda a: torch.bernoulli(torch.sigmoid(a)),
        lambda a: F.rrelu(a, training=True),
        lambda a: a + torch.normal(0.0, 1.0, a.shape),
        lambda a: a[:, torch.randperm(4)],
    ],
    ids="randn_like rand dropout dropout_on normal_ bernoulli rrelu normal randperm".split(),
)
def test_a_model_that_is_random_in_evaluation_mode_is_refused(method, noise):
    model = Sequence(lambda m, a: pooled(m, noise(a)))
    with torch.random.fork_rng(), pytest.raises(XaiMedError, match="is random in evaluation mode"):
        explain(model, images(), method=method, target=1)


def test_a_body_without_gradients_is_refused(method):
    class Frozen(Sequence):
        def __init__(self):
            super().__init__(pooled)

        def forward(self, x):
            with torch.no_grad():
                features = self.relu(self.conv(x))
            return self.head(self, features)

    model = Frozen()
    if method in ("cam", "grad_cam"):
        assert_close(
            explain(model, images(), method=method, target=1).maps,
            explain(Sequence(pooled), images(), method=method, target=1).maps,
        )
        return
    with pytest.raises(XaiMedError, match=r"differentiable path|gradients switched off"):
        explain(model, images(), method=method, target=1)


def test_checkpointed_bodies_are_right_or_refused(method):
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(Sequence):
        def __init__(self, reentrant):
            super().__init__(pooled)
            self.reentrant = reentrant

        def forward(self, x):
            return self.head(self, checkpoint(lambda a: self.relu(self.conv(a)), x, use_reentrant=self.reentrant))

    wanted = explain(Sequence(pooled), images(), method=method, target=1)
    for model in (Checkpointed(reentrant=False), Checkpointed(reentrant=True)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = right_or_refused(lambda model=model: explain(model, images(), method=method, target=1))
        if result is not None:
            assert_close(result.maps, wanted.maps)


def test_a_custom_autograd_function_is_right_or_refused(method):
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            return a * 2

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 2

    model = Sequence(lambda m, a: pooled(m, Double.apply(a)))
    wanted = explain(Sequence(lambda m, a: pooled(m, a * 2)), images(), method=method, target=1)
    result = right_or_refused(lambda: explain(model, images(), method=method, target=1))
    if result is None:
        return
    assert_close(result.maps, wanted.maps)


def test_a_model_that_leaves_the_framework_is_refused(method):
    model = Sequence(lambda m, a: torch.from_numpy(pooled(m, a).detach().numpy() * 2))
    with pytest.raises(XaiMedError, match="does not depend on its input through operations that can be followed"):
        explain(model, images(), method=method, target=1)


def test_a_part_that_leaves_the_framework_is_refused_or_right(method):
    model = Sequence(lambda m, a: pooled(m, torch.from_numpy(a.detach().numpy() * 2)))
    with pytest.raises(XaiMedError):
        explain(model, images(), method=method, target=1)


def test_weight_norm_and_shared_weights_are_right(method):
    model = Sequence(pooled)
    wanted = explain(model, images(), method=method, target=1)
    torch.nn.utils.parametrizations.weight_norm(model.conv)
    before = copy.deepcopy(model.state_dict())
    assert_close(explain(model, images(), method=method, target=1).maps, wanted.maps)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_logits_behind_log_softmax_are_found(method):
    wanted = explain(Sequence(pooled), images(), method=method, target=1)
    for squash in (
        lambda y: F.log_softmax(y, 1),
        lambda y: F.softmax(y, -1),
        lambda y: y.softmax(1),
        lambda y: torch.sigmoid(y),
    ):
        model = Sequence(lambda m, a, squash=squash: squash(pooled(m, a)))
        assert_close(explain(model, images(), method=method, target=1).maps, wanted.maps)


def test_two_final_activations_are_not_taken_for_one():
    model = Sequence(lambda m, a: torch.sigmoid(F.softmax(pooled(m, a), 1)))
    with pytest.raises((OutputError, NotApplicableError), match=r"softmax|sigmoid"):
        explain(model, images(), target=1)


def test_images_without_a_batch_axis_are_refused(method):
    with pytest.raises(XaiMedError, match="add the batch axis"):
        explain(Sequence(lambda m, a: m.fc(a.mean((-1, -2)))), images()[0], method=method, target=1)
