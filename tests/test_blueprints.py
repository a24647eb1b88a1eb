"""Blueprints refuse what adapters would build differently; weights travel through files unchanged."""

import copy
import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from xai_med.blueprints import INPUT, Blueprint, Step
from xai_med.blueprints.validation import check_blueprint, options_of
from xai_med.blueprints.weights import weights_of, with_weights
from xai_med.errors import FileFormatError, SettingError, UnsupportedOperationError
from xai_med.io.weights import read_weights, write_weights
from xai_med.testing.network_layers import plain
from xai_med.testing.networks import NETWORKS, example_input
from xai_med.testing.oracle import forward


def build(framework: str, blueprint: Blueprint, dtype: str = "float32") -> Any:
    pytest.importorskip(framework)
    return importlib.import_module(f"xai_med_{framework}.blueprint").build(blueprint, dtype=dtype)


@pytest.fixture(params=["torch", "paddle"])
def framework(request: pytest.FixtureRequest) -> str:
    return request.param


def test_built_layers_are_named_after_their_steps(framework: str) -> None:
    blueprint = NETWORKS["resnet_like"]()
    weighted = {step.name for step in blueprint.steps if step.arrays}
    keys = {key.rsplit(".", 1)[0] for key in build(framework, blueprint).state_dict()}
    assert keys == weighted


def test_built_network_is_in_evaluation_mode(framework: str) -> None:
    network = build(framework, NETWORKS["vgg_like"]())
    assert not network.training
    assert not network.drop.training


def test_built_network_can_be_copied(framework: str) -> None:
    network = build(framework, NETWORKS["densenet_like"]())
    assert list(copy.deepcopy(network).state_dict()) == list(network.state_dict())


@pytest.mark.parametrize("overwritten", ["norm1", "a_norm2"])
def test_in_place_style_overwrites_its_input(framework: str, overwritten: str) -> None:
    blueprint = NETWORKS["resnet_like"]()
    network = build(framework, blueprint)
    seen: list[Any] = []
    getattr(network, overwritten).register_forward_hook(lambda layer, inputs, output: seen.append(output))
    library = importlib.import_module(framework)
    with library.no_grad():
        network(library.from_numpy(example_input(blueprint)))
    values = seen[0].numpy()
    assert values.min() == 0  # a ReLU came after the batch norm, or after the addition to it
    expected = forward(blueprint, example_input(blueprint))[{"norm1": "relu1", "a_norm2": "a_out"}[overwritten]]
    assert_allclose(values, expected, rtol=0, atol=1e-5)


def test_shape_that_contradicts_the_step_is_refused(framework: str) -> None:
    blueprint = NETWORKS["max_pool_head"]()
    first = blueprint.steps[0]
    wrong = replace(first, arrays={**first.arrays, "bias": np.ones(4)})
    with pytest.raises(SettingError, match=r"conv1\.bias"):
        build(framework, replace(blueprint, steps=(wrong, *blueprint.steps[1:])))


def test_dtype_that_is_not_floating_is_refused(framework: str) -> None:
    with pytest.raises(SettingError, match="'int64' is not a floating dtype"):
        build(framework, NETWORKS["max_pool_head"](), dtype="int64")


def test_building_draws_nothing_from_torchs_random_state() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    expected = torch.rand(4).numpy()
    torch.manual_seed(3)
    build("torch", NETWORKS["vgg_like"]())
    assert_array_equal(torch.rand(4).numpy(), expected)


def test_building_draws_nothing_from_paddles_random_state() -> None:
    paddle = pytest.importorskip("paddle")
    paddle.seed(3)
    expected = paddle.rand([4]).numpy()
    paddle.seed(3)
    build("paddle", NETWORKS["vgg_like"]())
    assert_array_equal(paddle.rand([4]).numpy(), expected)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_tiny_networks_are_sound(name: str) -> None:
    blueprint = NETWORKS[name]()
    check_blueprint(blueprint)
    assert blueprint.name == name


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_float32_holds_the_weights_exactly(name: str) -> None:
    for array in weights_of(NETWORKS[name]()).values():
        assert_array_equal(array.astype(np.float32), array)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((), "has no steps"),
        ((plain("a.b", "relu", INPUT),), "without dots"),
        ((plain("a", "relu", INPUT), plain("a", "relu", "a")), "is taken"),
        ((plain("a", "relu", "b"),), "no earlier step gives"),
        ((plain("a", "add", INPUT),), "has 1 inputs"),
        ((plain("a", "relu", INPUT, slope=0.1),), r"has options \['slope'\]"),
        ((plain("a", "relu", INPUT, style="leaky"),), "has style 'leaky'"),
        ((plain("a", "max_pool", INPUT),), r"lacks the options \['kernel'\]"),
        ((plain("a", "linear", INPUT),), r"needs \['weight'\]"),
        ((plain("a", "relu", INPUT, style="in_place"),), "would overwrite 'input'"),
    ],
)
def test_unsound_blueprint_is_refused(steps: tuple[Step, ...], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        check_blueprint(Blueprint("unsound", (1, 4), steps))


def test_in_place_step_may_not_overwrite_what_is_read_later() -> None:
    steps = (
        plain("pool", "max_pool", INPUT, kernel=2),
        plain("drop", "dropout", "pool"),
        plain("relu", "relu", "drop", style="in_place"),
        plain("sum", "add", "relu", "pool"),
    )
    with pytest.raises(SettingError, match="would overwrite 'pool'"):
        check_blueprint(Blueprint("unsound", (1, 4), steps))


def test_unknown_operation_is_refused() -> None:
    with pytest.raises(UnsupportedOperationError, match="asks for 'attention'"):
        options_of(plain("a", "attention", INPUT))


def test_stride_of_a_pool_defaults_to_its_kernel() -> None:
    assert options_of(plain("a", "max_pool", INPUT, kernel=3))["stride"] == 3


def test_weights_come_back_from_a_file_unchanged(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    blueprint = NETWORKS["resnet_like"]()
    path = tmp_path / "weights.safetensors"
    write_weights(path, weights_of(blueprint))
    again = weights_of(with_weights(blueprint, read_weights(path)))
    assert list(again) == list(weights_of(blueprint))
    for key, array in weights_of(blueprint).items():
        assert_array_equal(again[key], array)
        assert not again[key].flags.writeable


def test_transposed_array_is_written_as_it_reads(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    array = np.arange(6.0).reshape(2, 3).T
    write_weights(tmp_path / "a.safetensors", {"a": array})
    assert_array_equal(read_weights(tmp_path / "a.safetensors")["a"], array)


def test_existing_file_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    write_weights(tmp_path / "a.safetensors", {"a": np.ones(1)})
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_weights(tmp_path / "a.safetensors", {"a": np.zeros(1)})
    write_weights(tmp_path / "a.safetensors", {"a": np.zeros(1)}, overwrite=True)
    assert_array_equal(read_weights(tmp_path / "a.safetensors")["a"], [0.0])


def test_file_of_another_format_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_weights(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("key", "array", "message"),
    [
        ("conv1.bias", None, "conv1.bias is missing"),
        ("conv9.bias", np.ones(5), "conv9.bias is unexpected"),
        ("conv1.bias", np.ones(4), r"conv1.bias has shape \(4,\) instead of \(5,\)"),
        ("conv1.bias", np.full(5, np.nan), "conv1.bias holds NaN"),
        ("conv1.bias", np.ones(5, dtype=np.int64), "conv1.bias is int64"),
    ],
)
def test_weights_that_do_not_fit_are_named(key: str, array: np.ndarray | None, message: str) -> None:
    blueprint = NETWORKS["max_pool_head"]()
    arrays = weights_of(blueprint)
    if array is None:
        del arrays[key]
    else:
        arrays[key] = array
    with pytest.raises(FileFormatError, match=message):
        with_weights(blueprint, arrays)


def test_other_weights_leave_the_original_alone() -> None:
    blueprint = NETWORKS["max_pool_head"]()
    doubled = {key: 2 * array for key, array in weights_of(blueprint).items()}
    other = with_weights(blueprint, doubled)
    assert_array_equal(weights_of(other)["conv1.bias"], 2 * weights_of(blueprint)["conv1.bias"])
    assert replace(other, steps=()) == replace(blueprint, steps=())
