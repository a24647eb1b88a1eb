"""Large batches of many classes are explained in portions: the same result as all at once, with less memory."""

import inspect
from dataclasses import replace

import numpy as np
import pytest

from xai_med import Classes, Contrast, explain, front_door
from xai_med.errors import ShapeError, TargetError, XaiMedError
from xai_med.registry import get_method
from xai_med.testing.networks import NETWORKS

IMAGES = 7
METHODS = ("gradient", "lrp", "clear")


@pytest.fixture
def network(backend):
    blueprint = NETWORKS["vgg_like"]()
    x = np.random.default_rng(0).standard_normal((IMAGES, *blueprint.input_shape)).astype(np.float32)
    return backend.build(blueprint), x


@pytest.fixture
def portions(monkeypatch):
    """Sizes of the portions that a method was given; at most two maps of 12 x 9 are worth computing at once."""
    sizes = []

    def narrowed(cells):
        def found(name):
            method = get_method(name)

            def noted(request, **settings):
                sizes.append(int(request.batch.shape[0]))
                return method.function(request, **settings)

            noted.__signature__ = inspect.signature(method.function)
            return replace(method, function=noted, cells_at_once=cells)

        monkeypatch.setattr(front_door, "get_method", found)
        sizes.clear()
        return sizes

    return narrowed


def same(found, expected):
    for name in ("maps", "attribution", "scores", "class_indices"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-5)
    assert found.targets == expected.targets
    assert {check.key for check in found.checks} == {check.key for check in expected.checks}
    counts = [(check.key, check.out_of) for check in found.checks if check.is_count]
    assert counts == [(check.key, check.out_of) for check in expected.checks if check.is_count]
    for name, values in expected.extras.items():
        assert found.extras[name].shape == values.shape


TARGETS = {
    "all": "all",
    "one": 1,
    "two": Classes(0, 1),
    "predicted": "predicted",
    "per image": [0, 1, 0, 1, 1, 0, 1],
    "rows": np.array([[0, 1], [1, 0], [0, 0], [1, 1], [0, 1], [1, 0], [1, 1]]),
    "contrast": Contrast(0, 1),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("method", METHODS)
def test_portions_give_what_the_whole_batch_gives(method, target, network, portions):
    model, x = network
    expected = explain(model, x, method=method, target=target)
    classes = expected.maps.shape[1]
    sizes = portions(4 * classes * x[0, 0].size)
    found = explain(model, x, method=method, target=target)
    assert len(sizes) > 1
    assert sum(sizes) == IMAGES
    assert max(sizes[1:]) <= 4
    same(found, expected)


def test_a_portion_is_one_image_where_a_single_one_has_too_many_maps(network, portions):
    model, x = network
    sizes = portions(1)
    explain(model, x, method="gradient", target="all")
    assert sizes == [1] * IMAGES


def test_a_model_that_mixes_images_is_told_of_in_portions_too(portions):
    torch = pytest.importorskip("torch")

    class Centred(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.head = torch.nn.Conv2d(1, 4, 3), torch.nn.Linear(4, 2)

        def forward(self, x):
            x = self.conv(x).relu()
            return self.head((x - x.mean(0, keepdim=True)).relu().mean((2, 3)) + x.mean((2, 3)))

    x = torch.randn(4, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    expected = explain(Centred(), x, method="gradient", target="all")
    portions(1)
    found = explain(Centred(), x, method="gradient", target="all")
    assert found.check("one_by_one").value == expected.check("one_by_one").value == 4
    np.testing.assert_array_equal(found.maps, expected.maps)


def test_small_images_are_explained_at_once(network, portions):
    model, x = network
    sizes = portions(get_method("gradient").cells_at_once)
    explain(model, x, method="gradient", target="all")
    assert sizes == [IMAGES]


@pytest.mark.parametrize("method", ["cam", "grad_cam"])
def test_methods_that_need_one_pass_for_all_classes_take_the_batch_as_it_is(method):
    assert get_method(method).cells_at_once is None


def test_a_function_of_the_output_sees_the_whole_batch(network, portions):
    model, x = network
    sizes = portions(1)
    found = explain(model, x, method="gradient", target=lambda output: output[:, 0])
    assert sizes == [IMAGES]
    assert found.maps.shape[0] == IMAGES


def test_a_subclass_of_a_target_sees_the_whole_batch(network, portions):
    class Own(Classes):
        pass

    model, x = network
    sizes = portions(1)
    explain(model, x, method="gradient", target=Own(0, 1))
    assert sizes == [IMAGES]


@pytest.mark.parametrize("wrong", [[0, 1], [0] * 9])
def test_a_wrong_number_of_targets_is_refused_as_before(wrong, network, portions):
    model, x = network
    with pytest.raises(XaiMedError) as expected:
        explain(model, x, method="gradient", target=wrong)
    portions(1)
    with pytest.raises((ShapeError, TargetError)) as found:
        explain(model, x, method="gradient", target=wrong)
    assert str(found.value) == str(expected.value)


def test_verification_looks_at_the_whole_batch(network, portions):
    model, x = network
    sizes = portions(1)
    explain(model, x[:2], method="gradient", target=0, verify=True)
    assert sizes[0] == 2


def test_portions_do_not_keep_each_others_graph_of_derivatives(network, portions, monkeypatch):
    from xai_med import portions as module

    kept = []
    joined = module._joined

    def noted(parts, tensors, why):
        kept.extend(part.explained for part in parts)
        return joined(parts, tensors, why)

    monkeypatch.setattr(module, "_joined", noted)
    model, x = network
    portions(1)
    explain(model, x, method="gradient", target="all")
    assert len(kept) == IMAGES
    for explained in kept:
        for tensor in (explained.selection.outputs, explained.logits.values):
            assert getattr(tensor, "grad_fn", None) is None
            assert not getattr(tensor, "requires_grad", False)
        assert explained.selection.cotangents == ()
