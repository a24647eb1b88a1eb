"""Blueprints refuse what adapters would build differently; weights travel through files unchanged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from xai_med.blueprints import INPUT, Blueprint, Step
from xai_med.blueprints.validation import check_blueprint, options_of
from xai_med.blueprints.weights import read_weights, weights_of, with_weights, write_weights
from xai_med.errors import FileFormatError, SettingError, UnsupportedOperationError
from xai_med.testing.network_layers import plain
from xai_med.testing.networks import NETWORKS


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
    write_weights(tmp_path / "a", {"a": array})
    assert_array_equal(read_weights(tmp_path / "a")["a"], array)


def test_existing_file_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    write_weights(tmp_path / "a", {"a": np.ones(1)})
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_weights(tmp_path / "a", {"a": np.zeros(1)})
    write_weights(tmp_path / "a", {"a": np.zeros(1)}, overwrite=True)
    assert_array_equal(read_weights(tmp_path / "a")["a"], [0.0])


def test_file_of_another_format_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    (tmp_path / "a").write_bytes(b"no tensors here")
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_weights(tmp_path / "a")


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
