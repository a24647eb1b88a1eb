"""Weights of a blueprint as named arrays, to and from safetensors files."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from xai_med._optional import optional_import
from xai_med.backend.tensors import Array
from xai_med.blueprints.blueprint import Blueprint
from xai_med.errors import FileFormatError


def read_weights(path: str | Path) -> dict[str, Array]:
    """Read all arrays of a safetensors file.

    Raises
    ------
    FileFormatError
        The file is no safetensors file, or holds a kind of number that NumPy lacks.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no weights file {path}")
    safetensors = optional_import("safetensors", extra="torch")
    reader = optional_import("safetensors.numpy", extra="torch")
    try:
        return dict(reader.load_file(str(path)))
    except (safetensors.SafetensorError, KeyError) as error:  # KeyError: a dtype without a NumPy name
        raise FileFormatError(f"{path} cannot be read as safetensors arrays: {error}") from error


def write_weights(path: str | Path, arrays: Mapping[str, Array], *, overwrite: bool = False) -> None:
    """Write arrays to a safetensors file.

    Raises
    ------
    FileExistsError
        The file is there and `overwrite` is false.
    """
    if Path(path).exists() and not overwrite:
        raise FileExistsError(f"{path} exists; give another path or overwrite=True")
    writer = optional_import("safetensors.numpy", extra="torch")
    # safetensors stores the memory as it lies, whatever the strides say
    writer.save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, str(path))


def weights_of(blueprint: Blueprint) -> dict[str, Array]:
    """Every array of a blueprint under ``"step.array"``."""
    return {f"{step.name}.{name}": array for step in blueprint.steps for name, array in step.arrays.items()}


def with_weights(blueprint: Blueprint, arrays: Mapping[str, Array]) -> Blueprint:
    """Give the blueprint other weights.

    Parameters
    ----------
    blueprint : Blueprint
        States which arrays there are and their shapes.
    arrays : mapping of str to ndarray
        Keys ``"step.array"``, as `weights_of` gives them; copied.

    Raises
    ------
    FileFormatError
        Arrays are missing, unexpected, of another shape, not floating, or not finite; all are named.
    """
    faults = _faults(weights_of(blueprint), arrays)
    if faults:
        raise FileFormatError(f"the weights do not fit blueprint {blueprint.name!r}: {'; '.join(faults)}")
    steps = tuple(
        replace(step, arrays={name: _frozen(arrays[f"{step.name}.{name}"]) for name in step.arrays})
        for step in blueprint.steps
    )
    return replace(blueprint, steps=steps)


def _faults(expected: Mapping[str, Array], arrays: Mapping[str, Array]) -> list[str]:
    faults = [f"{key} is missing" for key in expected if key not in arrays]
    faults += [f"{key} is unexpected" for key in arrays if key not in expected]
    for key in expected.keys() & arrays.keys():
        array = arrays[key]
        if array.shape != expected[key].shape:
            faults.append(f"{key} has shape {array.shape} instead of {expected[key].shape}")
        elif array.dtype.kind != "f":
            faults.append(f"{key} is {array.dtype}, not floating")
        elif not np.isfinite(array).all():
            faults.append(f"{key} holds NaN or infinity")
        elif key.endswith(".running_var") and (array < 0).any():
            faults.append(f"{key} holds negative variances")
    return sorted(faults)


def _frozen(array: Array) -> Array:
    copy = np.array(array)
    copy.setflags(write=False)
    return copy
