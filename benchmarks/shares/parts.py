"""The parts of an explanation among which its time is divided."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

FORWARD = "the model's forward pass: its Python code and the framework's operators"
FOLLOWING = "following it: interception, recording, surrogates put in place"
RULES = "rules: what they compute beside the model's own operators"
PULLBACK = "pulling back: the framework's backward pass, or the adapter's own"
CHECKING = "looking at model and images before: weights, modes, finite values"
METHOD = "the method: heads, targets, class maps, its own checks"
READ_OUT = "read-out: resizing, checks of the result, NumPy arrays, pictures"
REST = "the rest"
PARTS = (FORWARD, FOLLOWING, RULES, PULLBACK, CHECKING, METHOD, READ_OUT, REST)

_OURS = ("xai_med", "xai_med_torch", "xai_med_paddle")
_FRAMEWORKS = ("torch", "paddle")


@dataclass(frozen=True)
class Place:
    """Code that belongs to a part.

    Parameters
    ----------
    path : str
        How a file's path within our packages begins.
    part : str or None
        None for tools, whose time belongs to whoever calls them.
    functions : tuple of str
        Only these; empty for all.
    """

    path: str
    part: str | None
    functions: tuple[str, ...] = ()

    def holds(self, path: str, function: str) -> bool:
        """Whether a function is here."""
        return path.startswith(self.path) and (not self.functions or function in self.functions)


def _of_adapters(file: str, part: str | None, *functions: str) -> list[Place]:
    return [Place(f"{adapter}/{file}", part, functions) for adapter in ("xai_med_torch", "xai_med_paddle")]


PLACES: Sequence[Place] = (
    *_of_adapters("framework.py", PULLBACK, "pullback", "pullbacks"),
    *_of_adapters("pullbacks.py", PULLBACK),
    *_of_adapters("reverse", PULLBACK),
    *_of_adapters("weights.py", CHECKING),
    *_of_adapters("framework.py", CHECKING, "check_model", "batch", "with_dtype"),
    *_of_adapters("tensors.py", None),
    *_of_adapters("details.py", None),
    *_of_adapters("", FOLLOWING),
    Place("xai_med/backend/operations.py", None),
    Place("xai_med/backend/heads", METHOD),
    Place("xai_med/backend", FOLLOWING),
    Place("xai_med/rules", RULES),
    Place("xai_med/maps", READ_OUT),
    Place("xai_med/render", READ_OUT),
    Place("xai_med/explanation.py", READ_OUT),
    Place("xai_med/certificate.py", READ_OUT),
    Place("xai_med/images_given.py", CHECKING),
    Place("xai_med/front_door.py", CHECKING, ("_request",)),
    Place("xai_med/front_door.py", READ_OUT),
    Place("xai_med/", METHOD),
    Place("benchmarks/libraries/ours.py", READ_OUT),
)
"""The first that fits counts."""


def part_of(code: CodeType, caller: str) -> str:
    """The part that a Python function's own time belongs to, called from another part."""
    path = _within_packages(code.co_filename)
    for place in PLACES:
        if place.holds(path, code.co_name):
            return caller if place.part is None else place.part
    return FORWARD if caller == FOLLOWING and path.startswith(_FRAMEWORKS) else caller


def part_of_builtin(function: Any, caller: str) -> str:
    """The same of a function that is not written in Python: an operator that the tracer runs is the model's."""
    return FORWARD if caller == FOLLOWING and is_of_framework(function) else caller


def is_of_framework(function: Any) -> bool:
    """Whether a built-in function is an operator of a framework."""
    owner = getattr(function, "__self__", None)
    origins = (getattr(function, "__module__", None), getattr(owner, "__module__", None), type(owner).__module__)
    return any(str(origin).partition(".")[0] in (*_FRAMEWORKS, "_VariableFunctions") for origin in origins)


def _within_packages(filename: str) -> str:
    """A file's path from its package on: ``xai_med/rules/share.py``, ``torch/nn/functional.py``."""
    parts = filename.split(os.sep)
    for package in (*_OURS, *_FRAMEWORKS, "benchmarks"):
        if package in parts[:-1]:
            return "/".join(parts[len(parts) - 1 - parts[::-1].index(package) :])
    return filename
