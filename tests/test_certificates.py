"""Every result certifies itself: what its checks say is true, and a result that is wrong is refused."""

import copy
import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
from paper_networks import dense, network, pixel

import xai_med
from xai_med import Check, Contrast, Explanation, Mask, Probability, explain, registry
from xai_med.blueprints.weights import weights_of
from xai_med.errors import IdentityError, NotApplicableError, SettingError, UnknownNameError
from xai_med.registry import METHODS, get_method, unregister
from xai_med.testing import NETWORKS, example_input, oracle
from xai_med.testing.network_layers import batch_norm, convolution, linear, plain

ALL_METHODS = ("cam", "clear", "grad_cam", "gradient", "lrp")
BY_DIFFERENCES = ("clear", "gradient", "lrp")


def square():
    """A small plain network on square images, where axes can be swapped unnoticed."""
    generator = np.random.default_rng(5)
    return network(
        convolution(generator, "conv1", "input", (4, 3, 3, 3), padding=1),
        batch_norm(generator, "norm1", "conv1", 4),
        plain("relu1", "relu", "norm1", style="module"),
        plain("pool1", "max_pool", "relu1", kernel=2, stride=2),
        convolution(generator, "conv2", "pool1", (5, 4, 3, 3), padding=1),
        plain("relu2", "relu", "conv2", style="functional"),
        plain("pool", "global_average_pool", "relu2", style="mean"),
        linear(generator, "head", "pool", (3, 5)),
        shape=(3, 12, 12),
    )


@pytest.fixture
def corrupted(monkeypatch):
    """A function that registers a method whose results a function has changed, with the method's own verification."""
    monkeypatch.setattr(registry, "_loaded", dict(registry._loaded))
    names = []

    def register(name, change):
        method = get_method(name)

        @functools.wraps(method.function)
        def run(request, **settings):
            found = method.function(request, **settings)
            tensors = request.network.tensors
            values, maps = change(tensors.to_numpy(found.values), tensors.to_numpy(found.maps))
            return dataclasses.replace(
                found, values=tensors.from_numpy(values, found.values), maps=tensors.from_numpy(maps, found.maps)
            )

        changed = f"{name}_changed"
        xai_med.register_method(changed, source="nobody", verification=method.verification)(run)
        names.append(changed)
        return changed

    yield register
    for name in names:
        unregister(METHODS, name)


def both(change):
    """Change values and maps alike, as a fault in a pullback does."""
    return lambda values, maps: (change(values), change(maps))


def without_a_channel(values, maps):
    """Drop one channel of what arrives, and pool the others."""
    changed = values.copy()
    changed[:, :, 1] = 0
    return changed, np.abs(changed).max(axis=2)


# ---- what every result says


def test_tensors_that_were_checked_are_counted(backend):
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint, 2)
    found = explain(backend.build(blueprint), images, target="all")
    arrays = [array for step in blueprint.steps for array in step.arrays.values()]
    weights = found.check("finite_weights")
    assert (weights.value, weights.tolerance, weights.passed) == (0, 0, True)
    assert weights.out_of == sum(array.size for array in arrays)
    assert len(weights_of(blueprint)) == len(arrays)
    assert "float32" in weights.note
    assert found.check("finite_input").out_of == images.size
    assert found.check("finite_logits").out_of == 2 * 3
    assert found.check("finite_maps").out_of == found.maps.size


def test_zero_and_constant_maps_are_counted(backend):
    one_cell = network(
        plain("pool", "global_average_pool", "input", style="mean"), dense("head", "pool", [[3.0, 0.0], [0.0, 0.0]])
    )
    found = explain(backend.build(one_cell), np.ones((3, 2, 4, 4), np.float32), target="all")
    assert (found.check("zero_maps").value, found.check("zero_maps").out_of) == (3, 6)
    assert found.check("constant_maps").value == 3


@pytest.mark.parametrize("size", [1.0, 12.0, 40.0])
@pytest.mark.parametrize("squash", ["sigmoid", "softmax"])
def test_saturation_of_the_head_is_reported(squash, size, backend):
    blueprint = network(
        plain("flat", "flatten", "input"),
        dense("head", "flat", np.eye(3) * size),
        plain("ending", squash, "head"),
        shape=(3, 1, 1),
    )
    found = explain(backend.build(blueprint, dtype="float64"), pixel(1, -0.5, 0.25), method="gradient", target="all")
    logits = np.array([1, -0.5, 0.25]) * size
    if squash == "sigmoid":
        derivative = 1 / (2 + 2 * np.cosh(logits))
        distance = (1 / (1 + np.exp(np.abs(logits)))).min()
    else:
        others = np.array([np.exp(np.delete(logits, k) - logits[k]).sum() for k in range(3)])
        derivative = others / (1 + others) ** 2
        distance = (np.minimum(1, others) / (1 + others)).min()
    check = found.check("saturated_probabilities")
    assert (check.value, check.out_of) == ((derivative < 1e-6).sum(), 3)
    assert f"the nearest lies {distance:.2g} from 0 or 1; explained is the logit" in check.note
    assert squash in check.name


def test_saturation_counts_what_is_explained_only(backend):
    blueprint = network(
        plain("flat", "flatten", "input"),
        dense("head", "flat", np.diag([100.0, 1.0, 1.0])),
        plain("ending", "sigmoid", "head"),
        shape=(3, 1, 1),
    )
    model, image = backend.build(blueprint), pixel(1, 1, 1).astype(np.float32)
    counts = [explain(model, image, method="gradient", target=t).check("saturated_probabilities") for t in (0, 1)]
    assert [(check.value, check.out_of) for check in counts] == [(1, 1), (0, 1)]
    probability = explain(model, image, method="gradient", target=Probability(0))
    assert "explain the logit" in probability.check("saturated_probabilities").note


def test_without_a_known_activation_nothing_is_said_of_saturation(backend):
    blueprint = NETWORKS["vgg_like"]()
    found = explain(backend.build(blueprint), example_input(blueprint))
    assert "saturated_probabilities" not in {check.key for check in found.checks}


def test_operations_and_their_rules_are_counted(backend):
    blueprint = NETWORKS["resnet_like"]()
    found = explain(backend.build(blueprint), example_input(blueprint), method="lrp")
    check = found.check("operations")
    kinds = [step.operation for step in blueprint.steps]
    convolutions, norms = kinds.count("convolution"), kinds.count("batch_norm")
    assert f"{convolutions} convolution: z_plus(1e-06) {convolutions}" in check.note
    assert f"{norms} batch norm: merged with the layer before {norms}" in check.note
    assert f"{kinds.count('relu')} ReLU: own derivative {kinds.count('relu')}" in check.note
    assert check.value == len(kinds)


def test_lost_share_is_that_of_the_oracle(backend):
    blueprint = NETWORKS["vgg_like"]()
    images = example_input(blueprint, 2)
    found = explain(backend.build(blueprint, dtype="float64"), images.astype(np.float64), method="lrp", target=1)
    logits = oracle.forward(blueprint, images)[oracle.logits_step(blueprint)][:, 1]
    shares = 1 - oracle.relevance(blueprint, images, target=1).reshape(2, -1).sum(axis=1) / logits
    assert found.check("lost_share").value == pytest.approx(shares[np.abs(shares).argmax()], abs=1e-10)


# ---- asking for checks


def test_a_check_is_found_by_its_key_and_by_its_name(backend):
    blueprint = NETWORKS["vgg_like"]()
    found = explain(backend.build(blueprint), example_input(blueprint))
    identity = found.check("cam_identity")
    assert found.check(identity.name) is identity
    assert identity.passed
    assert found.all_passed
    assert found.failed_checks == ()
    with pytest.raises(UnknownNameError, match=r"'cam' has no check 'lost_share'; it has cam_identity, .*verify="):
        found.check("lost_share")


def test_keys_are_unique_in_every_result(backend):
    blueprint = NETWORKS["sigmoid_output"]()
    for method in ALL_METHODS:
        found = explain(backend.build(blueprint), example_input(blueprint), method=method, target="all", verify=True)
        keys = [check.key for check in found.checks]
        assert len(set(keys)) == len(keys)


def test_a_check_that_could_not_be_measured_does_not_pass():
    check = Check("a deviation", float("nan"), 1.0)
    assert (check.passed, check.is_measured, check.verdict) == (False, False, "not measured")
    assert not Check("a number", float("nan")).passed
    assert (Check("a number", 3.0).passed, Check("a number", 3.0).verdict) == (True, "noted")
    assert (Check("a deviation", 2.0, 1.0).passed, Check("a deviation", 2.0, 1.0).verdict) == (False, "FAILED")
    assert Check("maps, all zero!", 1.0, out_of=4).key == "maps_all_zero"
    assert str(Check("maps", 1000.0, out_of=4000)) == "maps: 1,000 of 4,000"


def test_summary_is_a_table_of_verdicts(backend):
    blueprint = NETWORKS["vgg_like"]()
    text = explain(backend.build(blueprint), example_input(blueprint), verify=True).summary()
    lines = text.splitlines()
    assert "  checks: 7 of 7 passed, 2 more noted" in lines
    assert any(line.startswith("    passed  cam_identity") and "(at most " in line for line in lines)
    assert any(line.startswith("    noted   zero_maps") for line in lines)
    assert max(map(len, lines)) <= 120


# ---- verify=True: right results pass


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float32") for name in sorted(NETWORKS)), ("vgg_like", "float64"), ("volume", "float64")],
)
def test_right_results_pass_every_check(name, dtype, backend):
    blueprint = NETWORKS[name]()
    model, images = backend.build(blueprint, dtype=dtype), example_input(blueprint, 2, 3).astype(dtype)
    for method in ALL_METHODS:
        try:
            found = explain(model, images, method=method, target="all", verify=True)
        except NotApplicableError:
            assert method == "cam"
            continue
        assert found.all_passed, [str(check) for check in found.failed_checks]
        assert found.check("plain_forward").tolerance < 1e-3
        wanted = {"cam": "occlusion", "grad_cam": "recomputed"}.get(method, "steepest_direction")
        assert found.check(wanted).is_measured


@pytest.mark.parametrize(
    "target",
    [2, [0, 2], "predicted", Contrast(0, 1), Probability(1), lambda output: output.sum(1)],
    ids=["index", "per image", "predicted", "contrast", "probability", "function"],
)
def test_every_target_is_verified(target, backend):
    blueprint = NETWORKS["sigmoid_output"]()
    model, images = backend.build(blueprint), example_input(blueprint, 2)
    for method in ("gradient", "grad_cam"):
        assert explain(model, images, method=method, target=target, verify=True).all_passed


def test_a_dense_output_is_verified(backend):
    generator = np.random.default_rng(2)
    blueprint = network(convolution(generator, "conv", "input", (2, 1, 3, 3), padding=1), shape=(1, 5, 4))
    images = generator.normal(size=(2, 1, 5, 4)).astype(np.float32)
    mask = generator.integers(0, 2, (5, 4))
    found = explain(backend.build(blueprint), images, method="gradient", target=Mask(1, mask), verify=True)
    assert found.check("difference_quotients").passed


@pytest.mark.parametrize("background", [0.0, -1.7])
@pytest.mark.parametrize("method", ["gradient", "grad_cam", "lrp"])
def test_large_areas_of_one_value_raise_no_false_alarm(method, background, backend):
    blueprint = square()
    images = example_input(blueprint, 2, 1)
    images[:, :, :, :7] = background  # where max pools tie
    assert explain(backend.build(blueprint), images, method=method, target="all", verify=True).all_passed


def test_images_explained_one_by_one_are_all_verified():
    torch = pytest.importorskip("torch")
    from xai_med_torch import TorchBackend

    blueprint = square()
    inner = TorchBackend().build(blueprint)

    class Centred(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x - x.mean(0, keepdim=True) * (1 if len(x) > 1 else 0))

    found = explain(Centred(), example_input(blueprint, 3), method="gradient", target=[0, 1, 2], verify=True)
    assert found.check("one_by_one").value == 3
    assert found.all_passed
    assert found.check("difference_quotients").is_measured


def test_half_precision_is_verified_with_the_digits_that_it_has():
    torch = pytest.importorskip("torch")
    from xai_med_torch import TorchBackend

    model = TorchBackend().build(square()).to(torch.bfloat16)
    found = explain(model, example_input(square()), method="gradient", target="all", verify=True)
    assert found.all_passed
    assert 1e-4 < found.check("steepest_direction").value < found.check("steepest_direction").tolerance


def test_verify_changes_nothing_of_the_result_but_its_checks(backend):
    blueprint = square()
    model, images = backend.build(blueprint), example_input(blueprint, 2)
    for method in ALL_METHODS:
        plain_result, verified = (
            explain(model, images, method=method, target="all", verify=verify) for verify in (False, True)
        )
        np.testing.assert_array_equal(plain_result.attribution, verified.attribution)
        assert {check.key for check in plain_result.checks} < {check.key for check in verified.checks}


def test_verified_checks_are_saved_and_read_back(backend, tmp_path):
    blueprint = square()
    found = explain(backend.build(blueprint), example_input(blueprint), method="gradient", verify=True)
    assert Explanation.load(found.save(tmp_path / "result.npz")).checks == found.checks


# ---- verify=True: wrong results are refused

FAULTS = {
    "one per cent too large": both(lambda a: a * 1.01),
    "negated": both(lambda a: -a),
    "height and width swapped": both(lambda a: np.swapaxes(a, -1, -2)),
    "mirrored": both(lambda a: a[..., ::-1].copy()),
    "moved by one cell": both(lambda a: np.roll(a, 1, axis=-1)),
    "images mixed": both(lambda a: a[::-1].copy()),
    "classes mixed": both(lambda a: np.roll(a, 1, axis=1)),
    "offset": both(lambda a: a + 0.3 * np.abs(a).max()),
}


# after pooling channels an offset of values and maps is not the same: only maps of layers can be wrong in this way
@pytest.mark.parametrize(
    ("method", "fault"),
    [(m, fault) for m in ALL_METHODS for fault in sorted(FAULTS) if not (m in BY_DIFFERENCES and fault == "offset")],
)
def test_a_wrong_attribution_is_refused(method, fault, corrupted, backend):
    blueprint = square()
    images = example_input(blueprint, 2)
    # signed read-outs, so that maps stay those of the values and only the values themselves are wrong
    settings = {"gradient": {"read_out": "signed_sum"}, "clear": {"response": "signed", "psi": "id"}}.get(method, {})
    name = corrupted(method, FAULTS[fault])
    explain(backend.build(blueprint), images, method=name, target="all", **settings)
    with pytest.raises(IdentityError, match=r"is not what|not what its cells"):
        explain(backend.build(blueprint), images, method=name, target="all", verify=True, **settings)


def test_a_dropped_channel_is_found_by_difference_quotients(corrupted, backend):
    blueprint = square()
    name = corrupted("gradient", without_a_channel)
    with pytest.raises(IdentityError, match=r"gradient.* differs from difference quotients of the score by"):
        explain(backend.build(blueprint), example_input(blueprint), method=name, target="all", verify=True)


def test_a_scale_of_one_per_cent_is_found_where_max_pools_tie(corrupted, backend):
    blueprint = square()
    images = example_input(blueprint, 2, 1)
    images[:, :, :, :7] = -1.7
    name = corrupted("gradient", FAULTS["one per cent too large"])
    with pytest.raises(IdentityError, match=r"along itself differs from difference quotients of the score by 0.0"):
        explain(backend.build(blueprint), images, method=name, target="all", verify=True)


@pytest.mark.parametrize("method", BY_DIFFERENCES)
def test_maps_that_are_not_the_read_out_of_their_values_are_refused(method, corrupted, backend):
    blueprint = square()
    name = corrupted(method, lambda values, maps: (values, np.swapaxes(maps, -1, -2)))
    with pytest.raises(IdentityError, match=r"sum over channels|read-out of the channels"):
        explain(backend.build(blueprint), example_input(blueprint), method=name, target="all", verify=True)


def test_grad_cam_without_its_relu_is_refused(corrupted, backend):
    blueprint = square()
    model, images = backend.build(blueprint), example_input(blueprint)
    signed = explain(model, images, method="grad_cam", target="all", relu=False).attribution
    assert (signed < 0).any()
    name = corrupted("grad_cam", lambda values, maps: (signed, signed))
    with pytest.raises(IdentityError, match="map, against its formula in double precision"):
        explain(model, images, method=name, target="all", verify=True)


def test_a_wrong_pullback_at_the_layer_is_found_though_the_formula_agrees(backend, monkeypatch):
    from xai_med.backend.tracing.trace import RecordedTrace

    right = RecordedTrace.pullback
    monkeypatch.setattr(
        RecordedTrace, "pullback", lambda *args, **kwargs: (found * 1.01 for found in right(*args, **kwargs))
    )
    blueprint = square()
    with pytest.raises(IdentityError, match=r"gradient at the layer.* differs from difference quotients"):
        explain(backend.build(blueprint), example_input(blueprint), method="grad_cam", target="all", verify=True)


def test_a_model_that_answers_otherwise_when_nobody_watches_is_refused():
    torch = pytest.importorskip("torch")

    class Moody(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(4, 2)
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return self.linear(x.flatten(1)) + self.calls

    image = np.ones((1, 1, 2, 2), np.float32)
    explain(Moody(), image, method="gradient")
    with pytest.raises(IdentityError, match=r"not what the model answers when nobody watches .*deterministic"):
        explain(Moody(), image, method="gradient", verify=True)


# ---- what cannot be verified is said


def test_a_method_without_a_verification_says_so(corrupted, backend):
    @xai_med.register_method("unverified_gradient", source="nobody")
    def unverified_gradient(request):
        """Take the gradient."""
        return get_method("gradient")(request, {})

    try:
        blueprint = square()
        found = explain(backend.build(blueprint), example_input(blueprint), method="unverified_gradient", verify=True)
    finally:
        unregister(METHODS, "unverified_gradient")
    assert found.check("plain_forward").passed
    assert [check.key for check in found.failed_checks] == ["independent_check"]
    assert "brings no verification" in found.check("independent_check").note
    assert "not measured  independent_check" in found.summary()


def test_a_model_that_cannot_be_copied_is_not_verified_and_says_so():
    torch = pytest.importorskip("torch")

    class Unique(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(4, 2)

        def __deepcopy__(self, memo):
            raise TypeError("there is only one")

        def forward(self, x):
            return self.linear(x.flatten(1))

    found = explain(Unique(), np.ones((1, 1, 2, 2), np.float32), method="gradient", verify=True)
    assert not found.all_passed
    assert "there is only one" in found.check("independent_check").note
    assert explain(Unique().double(), np.ones((1, 1, 2, 2)), method="gradient", verify=True).all_passed


def test_a_backend_that_cannot_go_on_from_another_value_says_so(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "plugin"))
    from xai_med_example.backend import NumpyBackend

    backend, blueprint = NumpyBackend(), square()
    images = example_input(blueprint)
    for method, is_possible in (("gradient", True), ("clear", True), ("cam", False), ("grad_cam", False)):
        found = explain(backend.build(blueprint), images, method=method, target="all", verify=True, backend=backend)
        assert found.check("plain_forward").passed
        assert found.all_passed == is_possible
        if not is_possible:
            assert "go on from another value" in found.check("independent_check").note


@pytest.mark.parametrize("relu", ["identity", "deconv", "guided"])
def test_what_is_no_derivative_is_not_compared_with_one(relu, backend):
    blueprint = square()
    found = explain(backend.build(blueprint), example_input(blueprint), method="clear", relu=relu, verify=True)
    assert found.check("read_out").passed
    assert found.check("plain_forward").passed
    assert "derivative of no score" in found.check("difference_quotients").note
    assert not found.all_passed


def test_verify_is_true_or_false(backend):
    blueprint = square()
    with pytest.raises(SettingError, match="verify is True or False, got 'yes'"):
        explain(backend.build(blueprint), example_input(blueprint), verify="yes")


# ---- nothing of the caller changes


@pytest.mark.parametrize("method", ALL_METHODS)
def test_random_state_and_model_are_as_before(method, backend):
    blueprint = square()
    model, images = backend.build(blueprint), example_input(blueprint)
    model.train()
    np.random.seed(3)
    before = copy.deepcopy({name: backend.tensors.to_numpy(value) for name, value in model.state_dict().items()})
    numpy_state, given = np.random.get_state()[1].copy(), images.copy()
    explain(model, images, method=method, target="all", verify=True)
    after = {name: backend.tensors.to_numpy(value) for name, value in model.state_dict().items()}
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert np.array_equal(images, given)
    assert model.training


@pytest.mark.parametrize("framework", ["torch", "paddle"])
def test_the_framework_s_random_state_is_not_consumed(framework):
    module = pytest.importorskip(framework)
    backend = registry.get_backend(framework)
    blueprint = square()
    draw = (lambda: module.rand(3).numpy()) if framework == "torch" else (lambda: module.rand([3]).numpy())
    seed = module.manual_seed if framework == "torch" else module.seed
    seed(11)
    expected = draw()
    seed(11)
    explain(backend.build(blueprint), example_input(blueprint), method="lrp", target="all", verify=True)
    assert np.array_equal(draw(), expected)
