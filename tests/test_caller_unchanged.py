"""Nothing of the caller changes: the model, the images, the random state, and the other threads."""

import copy
import gc
import random
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from xai_med import explain
from xai_med.testing.networks import NETWORKS, example_input

# Paddle says so whenever a batch norm trains that was frozen before
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")

METHODS = ("cam", "grad_cam", "gradient", "lrp", "clear")
HEAD = "classifier"


def network(backend, name="vgg_like", **options):
    """Build a network and draw images for it."""
    blueprint = NETWORKS[name]()
    return backend.build(blueprint, **options), backend.tensor(example_input(blueprint))


def values(tensor):
    """Copy a native tensor to an array."""
    return np.array(tensor.detach().numpy())


def state(model, *, but=()):
    """Everything that hangs on each module, tensors by their bytes."""
    found = {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key in but:
                continue
            if isinstance(value, dict):
                found[name, key] = {inner: frozen(item) for inner, item in value.items()}
            else:
                found[name, key] = frozen(value)
    return found


def frozen(value):
    """Bytes of a tensor with its flags, the identity of a callable or module, or the text of plain data."""
    if hasattr(value, "requires_grad") and hasattr(value, "numpy"):
        gradient = None if value.grad is None else values(value.grad).tobytes()
        return values(value).tobytes(), bool(value.requires_grad), gradient, sorted(vars(value))
    return id(value) if callable(value) else repr(value)


def mixed_training(model):
    """Put every second module in training mode."""
    for position, (_, module) in enumerate(model.named_modules()):
        module.training = position % 2 == 0


class InUserCodeError(Exception):
    """Raised by the caller's model."""


# ---- the model


@pytest.mark.parametrize("name", ["vgg_like", "resnet_like", "densenet_like"])
@pytest.mark.parametrize("method", METHODS)
def test_everything_that_hangs_on_the_modules_is_as_before(backend, method, name):
    model, x = network(backend, name)
    before = state(model)
    explain(model, x, method=method)
    assert state(model) == before


@pytest.mark.parametrize(
    ("method", "name", "layer"), [("cam", "single_logit", "relu1"), ("grad_cam", "vgg_like", "norm1")]
)
def test_a_named_layer_carries_no_hook_afterwards(backend, method, name, layer):
    model, x = network(backend, name)
    before = state(model)
    assert explain(model, x, method=method, layer=layer).layer == layer
    assert state(model) == before


@pytest.mark.parametrize("method", METHODS)
def test_gradients_of_parameters_are_untouched_in_the_middle_of_training(backend, method):
    model, x = network(backend)
    (model(x) ** 2).sum().backward()
    before = {name: values(p.grad) for name, p in model.named_parameters() if p.grad is not None}
    assert before
    explain(model, x, method=method)
    after = {name: values(p.grad) for name, p in model.named_parameters() if p.grad is not None}
    assert before.keys() == after.keys()
    for name, gradient in before.items():
        np.testing.assert_array_equal(after[name], gradient)


@pytest.mark.parametrize("method", METHODS)
def test_mixed_training_flags_are_preserved(backend, method):
    model, x = network(backend)
    mixed_training(model)
    before = {name: module.training for name, module in model.named_modules()}
    assert set(before.values()) == {True, False}
    explain(model, x, method=method)
    assert {name: module.training for name, module in model.named_modules()} == before


@pytest.mark.parametrize("method", METHODS)
def test_a_model_in_training_mode_is_explained_as_in_evaluation_and_keeps_its_statistics(backend, method):
    model, x = network(backend)
    expected = explain(model, x, method=method)
    model.train()
    before = state(model)
    result = explain(model, x, method=method)
    assert state(model) == before  # among it the running statistics of batch norm
    np.testing.assert_array_equal(result.maps, expected.maps)


@pytest.mark.parametrize("method", METHODS)
def test_dropout_in_training_mode_gives_the_same_map_twice(backend, method):
    model, x = network(backend)
    model.train()
    first, second = (explain(model, x, method=method) for _ in range(2))
    np.testing.assert_array_equal(first.maps, second.maps)
    assert first.scores.tolist() == second.scores.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_the_result_says_that_the_model_was_in_training_mode(backend, method):
    model, x = network(backend)
    assert "training mode" not in explain(model, x, method=method).summary()
    mixed_training(model)
    assert "training mode" in explain(model, x, method=method).summary()


@pytest.mark.parametrize("method", METHODS)
def test_the_model_can_be_copied_and_trained_after_the_call(backend, method):
    model, x = network(backend)
    untouched = backend.build(NETWORKS["vgg_like"]())
    explain(model, x, method=method)
    twin = copy.deepcopy(model)
    for each in (model, twin, untouched):
        each.train()
        each.get_submodule("drop").eval()  # its mask is random
        (each(x) ** 2).sum().backward()
    for (name, one), (_, two), (_, three) in zip(
        *(each.named_parameters() for each in (model, twin, untouched)), strict=True
    ):
        if three.grad is not None:
            np.testing.assert_array_equal(values(one.grad), values(three.grad), err_msg=name)
            np.testing.assert_array_equal(values(two.grad), values(three.grad), err_msg=name)


def test_a_copy_made_for_another_precision_leaves_the_model_in_its_own(backend):
    model, x = network(backend)
    before = state(model)
    result = explain(model, x, method="gradient", dtype="float64")
    assert state(model) == before
    assert result.dtype == "float64"


# ---- the images and the random state


@pytest.mark.parametrize("method", METHODS)
def test_images_are_untouched_and_a_second_call_gives_the_same_map(backend, method):
    model, x = network(backend)
    before = frozen(x)
    first = explain(model, x, method=method)
    assert frozen(x) == before
    second = explain(model, x, method=method)
    np.testing.assert_array_equal(first.maps, second.maps)


@pytest.mark.parametrize("method", METHODS)
def test_images_that_require_a_gradient_keep_their_own(backend, method):
    model, x = network(backend)
    expected = explain(model, x, method=method)
    x.requires_grad = True
    (x * 3).sum().backward()
    before = frozen(x)
    result = explain(model, x, method=method)
    assert frozen(x) == before
    np.testing.assert_array_equal(result.maps, expected.maps)


@pytest.mark.parametrize("method", METHODS)
def test_an_array_of_images_is_untouched(backend, method):
    model, x = network(backend)
    array = values(x)
    array.setflags(write=False)
    before = array.copy()
    result = explain(model, array, method=method)
    np.testing.assert_array_equal(array, before)
    np.testing.assert_array_equal(result.maps, explain(model, x, method=method).maps)


@pytest.mark.parametrize("method", METHODS)
def test_no_random_number_is_consumed(backend, method):
    framework = sys.modules[backend.name]
    model, x = network(backend)
    model.train()

    def draws(call):
        random.seed(3)
        np.random.seed(3)
        framework.manual_seed(3)
        call()
        return random.random(), np.random.random(), values(framework.rand([4])).tolist()

    assert draws(lambda: explain(model, x, method=method)) == draws(lambda: None)


# ---- models that raise


@pytest.mark.parametrize("error", [InUserCodeError, KeyboardInterrupt, IndexError, RuntimeError])
@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_raises_in_forward_leaves_nothing_behind(backend, method, error):
    model, x = network(backend)
    mixed_training(model)
    expected = explain(model, x, method=method)
    # Paddle notes in _built that a layer with a hook, here the caller's, has run
    before = state(model, but=["_built"])

    def raises(*_):
        raise error("from the caller's code")

    handle = model.get_submodule("conv2").register_forward_pre_hook(raises)
    with pytest.raises(error, match="from the caller's code"):
        explain(model, x, method=method)
    handle.remove()
    assert state(model, but=["_built"]) == before
    np.testing.assert_array_equal(explain(model, x, method=method).maps, expected.maps)
    assert model(x).requires_grad  # gradients are enabled again


@pytest.mark.parametrize("method", ["grad_cam", "gradient", "lrp", "clear"])
def test_a_model_that_raises_in_backward_leaves_nothing_behind(backend, method):
    model, x = network(backend)
    mixed_training(model)
    expected = explain(model, x, method=method)
    # Paddle notes in _built that a layer with a hook, here the caller's, has run
    before = state(model, but=["_built"])

    def raises(_):
        raise InUserCodeError("from the caller's backward")

    def attaches(_, inputs):
        inputs[0].register_hook(raises)

    layer = model.get_submodule(HEAD if method == "grad_cam" else "conv2")
    handle = layer.register_forward_pre_hook(attaches)
    with pytest.raises(Exception, match="from the caller's backward"):
        explain(model, x, method=method)
    handle.remove()
    assert state(model, but=["_built"]) == before
    np.testing.assert_array_equal(explain(model, x, method=method).maps, expected.maps)


# ---- memory


@pytest.mark.parametrize("method", METHODS)
def test_images_are_freed(backend, method):
    model, x = network(backend)
    result = explain(model, x, method=method)
    reference = weakref.ref(x)
    del x
    gc.collect()
    assert reference() is None
    assert len(result) == 2


@pytest.mark.parametrize("method", METHODS)
def test_activations_are_freed_when_the_call_ends(backend, method):
    model, x = network(backend)
    references = []

    def remembers(_, inputs):
        references.append(weakref.ref(inputs[0]))

    handles = [module.register_forward_pre_hook(remembers) for _, module in model.named_modules()]
    result = explain(model, x, method=method)
    for handle in handles:
        handle.remove()
    gc.collect()
    assert len(references) > 5
    assert not any(reference() is not None and reference() is not x for reference in references)
    assert len(result) == 2


@pytest.mark.parametrize("method", METHODS)
def test_the_number_of_living_objects_is_constant_over_twenty_calls(backend, method):
    model, x = network(backend)
    counts = []
    for _ in range(2):
        for _ in range(20):
            explain(model, x, method=method, keep_input=False)
        gc.collect()
        # Paddle 3.3 itself forgets one list of argument names for each tensor that is made from an array
        counts.append(sum(type(thing) is not list for thing in gc.get_objects()))
    assert counts[1] - counts[0] < 20  # not one object for each call; the first round filled caches


# ---- threads


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("method", METHODS)
def test_threads_that_share_a_model_get_the_serial_maps(backend, method, training):
    blueprint = NETWORKS["vgg_like"]()
    model = backend.build(blueprint)
    inputs = [backend.tensor(example_input(blueprint, seed=seed)) for seed in range(4)]
    expected = [explain(model, x, method=method).maps for x in inputs]
    if training:
        mixed_training(model)
    before = state(model)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: explain(model, x, method=method).maps, inputs * 4))
    assert state(model) == before
    for position, maps in enumerate(found):
        np.testing.assert_allclose(maps, expected[position % 4], rtol=0, atol=1e-5 * np.ptp(maps))


def test_threads_with_different_methods_do_not_mix(backend):
    model, x = network(backend)
    model.train()
    expected = {method: explain(model, x, method=method).maps for method in METHODS}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda method: (method, explain(model, x, method=method).maps), METHODS * 4))
    for method, maps in found:
        np.testing.assert_allclose(maps, expected[method], rtol=0, atol=1e-5 * np.ptp(maps))
    assert model.training
