"""Tells an operation of the framework that failed from an exception of the caller's own code."""

import re
from dataclasses import dataclass
from typing import Any

from xai_med.backend.framework import Framework
from xai_med.backend.operations import Call
from xai_med.backend.tensors import Tensor, is_floating, shape_of
from xai_med.errors import DtypeError, ModelError, ShapeError, XaiMedError

_OF_SHAPE = re.compile(r"\b(shape|size|dim|dimension|channel)s?\b", re.IGNORECASE)
# what frameworks raise for arguments that do not fit; anything else, such as a lack of memory, is no question of fit
OF_FRAMEWORKS = (AssertionError, IndexError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, eq=False)
class Failure:
    """A call in which an exception arose.

    Parameters
    ----------
    error : Exception
        A model may catch it and go on, as with a function that only some versions have.
    call : Call
        As the model made it.
    module : object or None
        The innermost that was running.
    """

    error: Exception
    call: Call
    module: Any


def noted(error: Exception, call: Call, module: Any, before: Failure | None) -> Failure | None:
    """The failure to remember after an exception in a call: the innermost one of an exception of the framework."""
    is_known = isinstance(error, XaiMedError) or (before is not None and before.error is error)
    if is_known or type(error) not in OF_FRAMEWORKS:  # a class of its own says enough
        return before
    return Failure(error, call, module)


def refusal(
    error: Exception, failure: Failure | None, images: tuple[int, ...], dtype: str, framework: Framework
) -> XaiMedError | None:
    """What to raise instead of an exception that ended the model's run; None where it is the caller's own.

    Parameters
    ----------
    error : Exception
        What came out of the model.
    failure : Failure or None
        The last one that was noted.
    images : tuple of int
        Shape of the images.
    dtype : str
        Of the images.
    framework : Framework
        Of the model.
    """
    if isinstance(error, StopIteration):
        return ModelError("the model's forward raised StopIteration: it called next() on something exhausted")
    if failure is None or failure.error is not error:
        return None
    call, module = failure.call, failure.module
    tensors = _tensors(call, framework)
    place = f" in module {type(module).__name__}" if module is not None else ""
    shapes = ", ".join(str(shape_of(tensor)) for tensor in tensors) or "no tensors"
    dtypes = {framework.tensors.dtype(tensor) for tensor in tensors}
    floating = sorted(name for name in dtypes if is_floating(name))
    what = f"{call.name}{place} could not run on tensors of shape {shapes}"
    if len(floating) > 1:
        return DtypeError(
            f"{what}: they are {' and '.join(floating)}, the images {dtype}; give the model one dtype (dtype= "
            f"converts registered weights, and neither constants in the model's code nor calls such as x.float())"
        )
    said = str(error).strip() or type(error).__name__
    if _OF_SHAPE.search(said):
        return ShapeError(f"{what}, for images of shape {images}; give images as the model was trained on: {said}")
    return ModelError(f"{what}, for images of shape {images} and dtype {dtype}: {said}")


def _tensors(call: Call, framework: Framework) -> list[Tensor]:
    return [
        item
        for value in (*call.args, *call.kwargs.values())
        for item in (value if isinstance(value, list | tuple) else (value,))
        if framework.is_tensor(item)
    ]
