"""A backend without a framework: blueprints run by NumPy, slowly and in float64."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import numpy as np
from xai_med.backend.framework import Inventory
from xai_med.backend.network import Trace
from xai_med.backend.numpy_tensors import NUMPY
from xai_med.backend.rule import Composite
from xai_med.backend.start import AtInput, Start
from xai_med.backend.tensors import Array, Tensors
from xai_med.blueprints import Blueprint, Step
from xai_med.blueprints.validation import check_blueprint
from xai_med.blueprints.weights import weights_of, with_weights
from xai_med.errors import DtypeError, LayerError, ModelError, NonFiniteError, SettingError, UnsupportedOperationError
from xai_med.testing.oracle import forward

from xai_med_example.trace import BlueprintTrace


class NumpyModel:
    """A model of this backend: a blueprint that can be called, and be given other weights.

    Parameters
    ----------
    blueprint : Blueprint
        Steps and weights.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint

    def __call__(self, images: Array) -> Array:
        """Run the model on images (N, C, *space)."""
        return forward(self.blueprint, images)[self.blueprint.steps[-1].name]


class NumpyNetwork:
    """`Network` for `NumpyModel`; computes in float64 whatever the weights are stored in.

    Parameters
    ----------
    blueprint : Blueprint
        Of the model; frozen, so that nothing of the caller's can change.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self._blueprint = blueprint

    @property
    def tensors(self) -> Tensors:
        """NumPy's tensor operations."""
        return NUMPY

    @property
    def dtype(self) -> str:
        """Dtype of the first weight."""
        return next((str(array.dtype) for array in weights_of(self._blueprint).values()), "float32")

    @contextmanager
    def trace(
        self, batch: Array, *, start: Start, rules: Composite | None = None, differentiable: bool = False
    ) -> Iterator[Trace]:
        """Run the model once and hand out the trace."""
        if rules is not None or (isinstance(start, AtInput) and start.probed):
            raise UnsupportedOperationError(
                "the NumPy backend has no surrogates for rules, because nothing differentiates them; "
                "use method='gradient', 'cam' or 'grad_cam', or build the blueprint with another backend"
            )
        if differentiable:
            raise UnsupportedOperationError("NumPy arrays keep no graph; differentiable=True needs another backend")
        yield BlueprintTrace(self._blueprint, batch, start)

    def is_tensor(self, value: object) -> bool:
        """Whether a value is an array."""
        return isinstance(value, np.ndarray)

    def forward(self, batch: Array) -> Array:
        """Run the model with nobody watching."""
        return NumpyModel(self._blueprint)(batch)

    def check(self, *, afresh: bool = False) -> Inventory:
        """Refuse a blueprint that is not sound, and weights that are not finite; tell what was looked at."""
        check_blueprint(self._blueprint)
        weights = weights_of(self._blueprint)
        for name, array in weights.items():
            if not np.isfinite(array).all():
                raise NonFiniteError(f"weight {name!r} holds NaN or infinite values")
        dtypes = {str(array.dtype) for array in weights.values()}
        return Inventory(len(weights), sum(array.size for array in weights.values()), tuple(sorted(dtypes)))

    def batch(self, x: Any) -> Array:
        """A private float64 copy of the caller's images."""
        if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
            given = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise DtypeError(f"images must be a floating NumPy array, got {given}; convert with x.astype('float32')")
        return x.astype(np.float64)

    def find_layer(self, layer: Any) -> tuple[Step, str]:
        """Step and name, from either."""
        steps = {step.name: step for step in self._blueprint.steps}
        if isinstance(layer, str) and layer in steps:
            return steps[layer], layer
        for step in steps.values():
            if step is layer:
                return step, step.name
        near = get_close_matches(str(layer), steps, n=3, cutoff=0.4)
        raise LayerError(f"the model has no step {layer!r}; did you mean one of {near or list(steps)}?")

    def as_dtype(self, dtype: str) -> "NumpyNetwork":
        """A copy with weights of another dtype."""
        return NumpyNetwork(_with_dtype(self._blueprint, dtype))

    def versions(self) -> Mapping[str, str]:
        """Version of NumPy, which is the framework here."""
        return {"numpy": np.__version__}


class NumpyBackend:
    """`Backend` for `NumpyModel`."""

    name = "numpy"

    @property
    def tensors(self) -> Tensors:
        """NumPy's tensor operations."""
        return NUMPY

    def recognises(self, model: object) -> bool:
        """Whether a model is of this backend."""
        return isinstance(model, NumpyModel)

    def network(self, model: Any) -> NumpyNetwork:
        """Wrap a model."""
        if not isinstance(model, NumpyModel):
            raise ModelError(f"the NumPy backend explains NumpyModel, got {type(model).__name__}")
        return NumpyNetwork(model.blueprint)

    def tensor(self, array: Array) -> Array:
        """Copy an array."""
        return np.array(array)

    def build(self, blueprint: Blueprint, *, dtype: str = "float32") -> NumpyModel:
        """Make a model with weights of a dtype."""
        check_blueprint(blueprint)
        return NumpyModel(_with_dtype(blueprint, dtype))

    def load_weights(self, model: NumpyModel, arrays: Mapping[str, Array]) -> None:
        """Give the model other weights, under the names ``"step.array"``."""
        model.blueprint = with_weights(model.blueprint, arrays)


def _with_dtype(blueprint: Blueprint, dtype: str) -> Blueprint:
    if dtype not in ("float32", "float64"):
        raise SettingError(f"weights are 'float32' or 'float64', got {dtype!r}")
    steps = [
        replace(step, arrays={name: array.astype(dtype) for name, array in step.arrays.items()})
        for step in blueprint.steps
    ]
    return replace(blueprint, steps=tuple(steps))
