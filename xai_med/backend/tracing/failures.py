"""Tells an operation of the framework that failed from an exception of the caller's own code."""

import re
from typing import Any

from xai_med.backend.framework import Framework, Observer
from xai_med.backend.operations import Call
from xai_med.backend.tensors import Tensor, is_floating, shape_of
from xai_med.errors import DtypeError, ModelError, ShapeError, XaiMedError

_OF_SHAPE = re.compile(r"\b(shape|size|dim|dimension|channel)s?\b", re.IGNORECASE)
# what frameworks raise for arguments that do not fit; anything else, such as a lack of memory, is no question of fit
_OF_FRAMEWORKS = (AssertionError, IndexError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError)


class FailureWatch:
    """Passes every event on to an observer, and remembers in which call an exception arose.

    A model may catch the exception and go on, as with a function that only some versions have. Only the one that
    ends the model's run is turned into a refusal.

    Parameters
    ----------
    framework : Framework
        Of the model.
    observer : Observer
        Who is told of each operation.
    """

    def __init__(self, framework: Framework, observer: Observer) -> None:
        self._framework = framework
        self._observer = observer
        self._module: Any = None
        self._failed: tuple[Exception, Call, Any] | None = None

    def call(self, call: Call) -> Any:
        """Run one function for the model."""
        try:
            return self._observer.call(call)
        except _OF_FRAMEWORKS as error:
            is_known = isinstance(error, XaiMedError) or (self._failed is not None and self._failed[0] is error)
            if not is_known and type(error) in _OF_FRAMEWORKS:  # a class of its own says enough
                self._failed = (error, call, self._module)
            raise

    def depends_on_input(self, tensor: Tensor) -> bool:
        """Whether a tensor was computed from the network's input."""
        return self._observer.depends_on_input(tensor)

    def enter_module(self, module: Any) -> None:
        """Note which module runs."""
        self._module = module
        self._observer.enter_module(module)

    def leave_module(self, module: Any, output: Any) -> Any:
        """Pass on what the module hands on."""
        return self._observer.leave_module(module, output)

    def refusal(self, error: Exception, images: tuple[int, ...], dtype: str) -> XaiMedError | None:
        """What to raise instead of an exception that ended the model's run; None where it is the caller's own.

        Parameters
        ----------
        error : Exception
            What came out of the model.
        images : tuple of int
            Shape of the images.
        dtype : str
            Of the images.
        """
        if isinstance(error, StopIteration):
            return ModelError("the model's forward raised StopIteration: it called next() on something exhausted")
        if self._failed is None or self._failed[0] is not error:
            return None
        _, call, module = self._failed
        tensors = self._tensors(call)
        place = f" in module {type(module).__name__}" if module is not None else ""
        shapes = ", ".join(str(shape_of(tensor)) for tensor in tensors) or "no tensors"
        dtypes = {self._framework.tensors.dtype(tensor) for tensor in tensors}
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

    def _tensors(self, call: Call) -> list[Tensor]:
        return [
            item
            for value in (*call.args, *call.kwargs.values())
            for item in (value if isinstance(value, list | tuple) else (value,))
            if self._framework.is_tensor(item)
        ]
