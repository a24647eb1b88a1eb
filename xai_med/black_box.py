"""The built-in backend for what can only be asked: functions of arrays, and ONNX Runtime sessions."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from xai_med.backend.framework import Inventory
from xai_med.backend.network import Trace
from xai_med.backend.numpy_tensors import NUMPY
from xai_med.backend.rule import Composite
from xai_med.backend.start import Start
from xai_med.backend.tensors import Array, Tensors
from xai_med.blueprints.blueprint import Blueprint
from xai_med.errors import DtypeError, LayerError, ModelError, OpaqueModelError


class CallableBackend:
    """`Backend` for functions from images (N, C, *space) to outputs (N, classes), and ONNX Runtime sessions."""

    name = "callable"

    @property
    def tensors(self) -> Tensors:
        """NumPy's operations."""
        return NUMPY

    def recognises(self, model: object) -> bool:
        """Whether a model is a session, or can be called and is no class."""
        return _is_session(model) or (callable(model) and not isinstance(model, type))

    def network(self, model: Any) -> "AskedNetwork":
        """Wrap a function or session.

        Raises
        ------
        ModelError
            A session with several inputs, or nothing that can be called.
        """
        if _is_session(model):
            return AskedNetwork(_asked_session(model), _session_dtype(model), _kind_of(model))
        if not self.recognises(model):
            raise ModelError(f"a function of the images is needed, got {type(model).__name__}")
        return AskedNetwork(model, "float32", _kind_of(model))

    def tensor(self, array: Array) -> Array:
        """The array itself."""
        return np.asarray(array)

    def build(self, blueprint: Blueprint, *, dtype: str = "float32") -> Any:
        """Refuse: there is no framework to build with."""
        raise ModelError(f"{blueprint.name} ({dtype}) cannot be built without a framework; choose torch or paddle")

    def load_weights(self, model: Any, arrays: Mapping[str, Array]) -> None:
        """Refuse: weights are out of sight."""
        raise ModelError(f"{len(arrays)} weights were given for a {type(model).__name__}, whose own are out of sight")


class AskedNetwork:
    """`Network` of which only answers are known.

    Parameters
    ----------
    function : callable
        Images (N, C, *space) to outputs.
    dtype : str
        Of the images that it takes.
    kind : str
        The caller's type, for messages.
    """

    def __init__(self, function: Callable[[Array], Any], dtype: str, kind: str) -> None:
        self._function = function
        self._kind = kind
        self._dtype = dtype

    @property
    def tensors(self) -> Tensors:
        """NumPy's operations."""
        return NUMPY

    @property
    def dtype(self) -> str:
        """Of the images."""
        return self._dtype

    @contextmanager
    def trace(
        self, batch: Array, *, start: Start, rules: Composite | None = None, differentiable: bool = False
    ) -> Iterator[Trace]:
        """Refuse: no operation can be seen."""
        raise OpaqueModelError(
            f"no trace of shape {batch.shape} from {start!r} ({rules}, {differentiable}) can be made"
        )
        yield  # a context manager by its form

    def is_tensor(self, value: object) -> bool:
        """Whether a value is an array, or another framework's tensor that NumPy can read."""
        return isinstance(value, np.ndarray)

    def forward(self, batch: Array) -> Any:
        """Ask, with a copy of the images; what is returned becomes arrays."""
        return _as_arrays(self._function(np.array(batch)))

    def check(self, *, afresh: bool = False) -> Inventory:  # noqa: ARG002 (the protocol's argument)
        """Refuse: operations and weights are out of sight."""
        raise OpaqueModelError(
            f"no framework's backend recognises a model of type {self._kind}; its operations cannot be seen: give the "
            f"framework's own module, if there is one"
        )

    def batch(self, x: Any) -> Array:
        """A private copy of the images.

        Raises
        ------
        DtypeError
            No array of floating-point numbers.
        """
        if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
            kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise DtypeError(f"a function or session is given NumPy arrays of floating point, got {kind}")
        return np.array(x, dtype=x.dtype if x.dtype == np.float64 and self._dtype != "float16" else self._dtype)

    def find_layer(self, layer: Any) -> tuple[Any, str]:
        """Refuse: there are none."""
        raise LayerError(f"layer {layer!r} was given, and the model's layers cannot be seen; remove layer=")

    def as_dtype(self, dtype: str) -> "AskedNetwork":
        """Refuse: weights are out of sight."""
        raise ModelError(f"the model's weights are out of sight and cannot be made {dtype}; remove dtype=")

    def versions(self) -> Mapping[str, str]:
        """Nothing is known."""
        return {}


def _kind_of(model: object) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _is_session(model: object) -> bool:
    return all(hasattr(model, name) for name in ("run", "get_inputs", "get_outputs"))


def _session_dtype(session: Any) -> str:
    kinds = {"tensor(float16)": "float16", "tensor(double)": "float64"}
    return kinds.get(session.get_inputs()[0].type, "float32")


def _asked_session(session: Any) -> Callable[[Array], Any]:
    """A session as a function; one that was exported for a fixed number of images gets that many at a time."""
    inputs, outputs = session.get_inputs(), [output.name for output in session.get_outputs()]
    if len(inputs) != 1:
        raise ModelError(f"the session has {len(inputs)} inputs ({', '.join(each.name for each in inputs)}); give one")
    fixed = inputs[0].shape[0] if inputs[0].shape else None
    dtype = _session_dtype(session)

    def run(images: Array) -> Any:
        size = fixed if isinstance(fixed, int) else len(images)
        parts = [
            session.run(None, {inputs[0].name: _filled(images[start : start + size], size).astype(dtype)})
            for start in range(0, len(images), size)
        ]
        joined = [np.concatenate(each)[: len(images)] for each in zip(*parts, strict=True)]
        return joined[0] if len(joined) == 1 else dict(zip(outputs, joined, strict=True))

    return run


def _filled(images: Array, size: int) -> Array:
    """Repeat the last image until there are as many as a session takes."""
    missing = size - len(images)
    return images if not missing else np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])


def _as_arrays(output: Any) -> Any:
    if isinstance(output, Mapping):
        return {key: _as_arrays(value) for key, value in output.items()}
    if isinstance(output, tuple | list) and all(hasattr(value, "shape") for value in output) and output:
        return tuple(_as_arrays(value) for value in output)
    if hasattr(output, "detach"):
        output = output.detach()
    try:
        array = np.asarray(output)
    except (TypeError, ValueError, RuntimeError):
        return output
    return array if array.dtype.kind in "fiu" else output
