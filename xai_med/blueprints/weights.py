"""Weights of a blueprint as named arrays."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from xai_med.backend.state import Slot, check_state
from xai_med.backend.tensors import Array
from xai_med.blueprints.blueprint import Blueprint


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
    slots = {name: Slot(array.shape) for name, array in weights_of(blueprint).items()}
    check_state(slots, arrays, model=f"blueprint {blueprint.name!r}")
    steps = tuple(
        replace(step, arrays={name: _frozen(arrays[f"{step.name}.{name}"]) for name in step.arrays})
        for step in blueprint.steps
    )
    return replace(blueprint, steps=steps)


def _frozen(array: Array) -> Array:
    copy = np.array(array)
    copy.setflags(write=False)
    return copy
