"""What a blueprint must keep to: known operations, complete options and arrays, safe in-place steps."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from xai_med.blueprints.blueprint import INPUT, OPERATIONS, Blueprint, Step
from xai_med.errors import SettingError, UnsupportedOperationError

DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "convolution": {"stride": 1, "padding": 0, "dilation": 1, "groups": 1},
        "batch_norm": {"epsilon": 1e-5},
        "relu": {"style": "module"},
        "max_pool": {"stride": None, "padding": 0},
        "average_pool": {"stride": None, "padding": 0},
        "global_average_pool": {"style": "module"},
        "add": {"style": "operator"},
        "dropout": {"probability": 0.5},
    }
)
"""Options that may be left out. A pool's stride of None means its kernel size."""

STYLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "relu": ("module", "functional", "in_place"),
        "global_average_pool": ("module", "mean"),
        "add": ("operator", "in_place"),
    }
)
"""Ways of writing an operation that give the same values and are intercepted differently."""

_REQUIRED_ARRAYS = {
    "convolution": {"weight"},
    "linear": {"weight"},
    "batch_norm": {"weight", "bias", "running_mean", "running_var"},
}
_OPTIONAL_ARRAYS = {"convolution": {"bias"}, "linear": {"bias"}}
_PAIRS = ("add", "multiply")
_ALIASES = ("dropout", "flatten")  # their output may be the very memory of their input


@dataclass(frozen=True)
class PlannedStep:
    """A step that is ready to be built.

    Parameters
    ----------
    step : Step
        As the blueprint states it.
    options : mapping
        Every option of the operation, defaults filled in.
    space_axes : int
        1, 2 or 3.
    """

    step: Step
    options: Mapping[str, Any]
    space_axes: int


def planned(blueprint: Blueprint) -> tuple[PlannedStep, ...]:
    """Check a blueprint and give its steps with all options.

    Raises
    ------
    UnsupportedOperationError, SettingError
        See `check_blueprint`.
    """
    check_blueprint(blueprint)
    space_axes = len(blueprint.input_shape) - 1
    return tuple(PlannedStep(step, MappingProxyType(options_of(step)), space_axes) for step in blueprint.steps)


def options_of(step: Step) -> dict[str, Any]:
    """Every option of a step, defaults filled in.

    Raises
    ------
    UnsupportedOperationError
        No operation of this name.
    SettingError
        An option is unknown, missing, or a style that the operation does not have.
    """
    if step.operation not in OPERATIONS:
        raise UnsupportedOperationError(
            f"step {step.name!r} asks for {step.operation!r}; the operations are {', '.join(OPERATIONS)}"
        )
    known = OPERATIONS[step.operation]
    unknown = sorted(set(step.options) - set(known))
    if unknown:
        raise SettingError(f"step {step.name!r} has options {unknown}; {step.operation} takes {list(known)}")
    options = {**DEFAULTS.get(step.operation, {}), **step.options}
    missing = [name for name in known if name not in options]
    if missing:
        raise SettingError(f"step {step.name!r} lacks the options {missing} of {step.operation}")
    styles = STYLES.get(step.operation)
    if styles is not None and options["style"] not in styles:
        raise SettingError(f"step {step.name!r} has style {options['style']!r}; use one of {list(styles)}")
    if step.operation in ("max_pool", "average_pool") and options["stride"] is None:
        options["stride"] = options["kernel"]
    return options


def check_blueprint(blueprint: Blueprint) -> None:
    """Refuse a blueprint that adapters would build differently, or not at all.

    Raises
    ------
    UnsupportedOperationError, SettingError
        The message names the step and what is wrong with it.
    """
    if not blueprint.steps:
        raise SettingError(f"blueprint {blueprint.name!r} has no steps; the last step is its output")
    if not 2 <= len(blueprint.input_shape) <= 4:
        raise SettingError(f"input shape {blueprint.input_shape} is not (C, *space) of 1 to 3 space axes")
    seen = {INPUT}
    for step in blueprint.steps:
        _check_name(step, seen)
        _check_inputs(step, seen)
        options_of(step)
        _check_arrays(step)
        seen.add(step.name)
    for step in blueprint.steps:
        if step.options.get("style") == "in_place":
            _check_in_place(blueprint, step)


def _check_name(step: Step, seen: set[str]) -> None:
    if not step.name or "." in step.name:
        raise SettingError(f"step name {step.name!r} cannot name a layer; use a name without dots")
    if step.name in seen:
        raise SettingError(f"step name {step.name!r} is taken; names are unique and not {INPUT!r}")


def _check_inputs(step: Step, seen: set[str]) -> None:
    unknown = [name for name in step.inputs if name not in seen]
    if unknown:
        raise SettingError(f"step {step.name!r} reads {unknown}, which no earlier step gives")
    count = len(step.inputs)
    is_fitting = count >= 1 if step.operation == "concatenate" else count == 1 + (step.operation in _PAIRS)
    if not is_fitting:
        raise SettingError(f"step {step.name!r} has {count} inputs, which {step.operation} cannot take")


def _check_arrays(step: Step) -> None:
    required = _REQUIRED_ARRAYS.get(step.operation, set())
    allowed = required | _OPTIONAL_ARRAYS.get(step.operation, set())
    names = set(step.arrays)
    if not required <= names <= allowed:
        raise SettingError(
            f"step {step.name!r} has the arrays {sorted(names)}; {step.operation} needs {sorted(required)} "
            f"and may have {sorted(allowed)}"
        )


def _check_in_place(blueprint: Blueprint, step: Step) -> None:
    for overwritten in _aliases(blueprint, step.inputs[0]):
        readers = [other.name for other in blueprint.steps for name in other.inputs if name == overwritten]
        if overwritten == INPUT or len(readers) > 1:
            raise SettingError(
                f"step {step.name!r} would overwrite {overwritten!r}, read by {readers}; use another style"
            )


def _aliases(blueprint: Blueprint, name: str) -> Iterator[str]:
    steps = {step.name: step for step in blueprint.steps}
    yield name
    while name != INPUT and steps[name].operation in _ALIASES:
        name = steps[name].inputs[0]
        yield name
