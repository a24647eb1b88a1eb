"""Compares a backend's tensor operations with NumPy's, one by one."""

from collections.abc import Callable, Iterator

import numpy as np

from xai_med.backend.network import Backend
from xai_med.backend.numpy_tensors import NUMPY
from xai_med.backend.tensors import Array, Tensor, Tensors
from xai_med.errors import ConformanceError

Case = tuple[str, Callable[[Tensors, Tensor, Tensor], Tensor]]

CASES: tuple[Case, ...] = (
    ("einsum", lambda t, a, b: t.einsum("nchw,kc->nkhw", a, b)),
    ("einsum with ellipsis", lambda t, a, b: t.einsum("nc...,kc->nk...", a, b)),
    ("relu", lambda t, a, _: t.relu(a)),
    ("clip from below", lambda t, a, _: t.clip(a, low=-0.25)),
    ("clip from above", lambda t, a, _: t.clip(a, high=0.25)),
    ("clip on both sides", lambda t, a, _: t.clip(a, low=-0.5, high=0.25)),
    ("abs", lambda t, a, _: t.abs(a)),
    ("sqrt", lambda t, a, _: t.sqrt(a * a)),
    ("exp", lambda t, a, _: t.exp(a)),
    ("log", lambda t, a, _: t.log(a * a + 0.5)),
    ("sign", lambda t, a, _: t.sign(a)),
    ("where with a number", lambda t, a, _: t.where(a > 0, a, -1.0)),
    ("where with a tensor", lambda t, a, _: t.where(a > 0, a, a * 0)),
    ("sum over axes", lambda t, a, _: t.sum(a, (2, 3))),
    ("sum over no axes", lambda t, a, _: t.sum(a, ())),
    ("sum over a negative axis, kept", lambda t, a, _: t.sum(a, (-1,), keep=True)),
    ("mean over axes", lambda t, a, _: t.mean(a, (0, 2))),
    ("mean, kept", lambda t, a, _: t.mean(a, (1,), keep=True)),
    ("amax", lambda t, a, _: t.amax(a, (2, 3))),
    ("amax, kept", lambda t, a, _: t.amax(a, (1,), keep=True)),
    ("amin", lambda t, a, _: t.amin(a, (0,))),
    ("argmax", lambda t, a, _: t.argmax(a, 1)),
    ("argmax of a negative axis", lambda t, a, _: t.argmax(a, -1)),
    ("argmax among equals", lambda t, a, _: t.argmax(t.sign(a), -1)),
    ("stack", lambda t, a, _: t.stack([a, a * 2, a * 3], 1)),
    ("concatenate", lambda t, a, _: t.concatenate([a, a * 2], 1)),
    ("reshape", lambda t, a, _: t.reshape(a, (2, -1))),
    ("transpose", lambda t, a, _: t.transpose(a, (0, 3, 1, 2))),
    ("broadcast", lambda t, a, _: t.broadcast(t.sum(a, (2, 3), keep=True), (2, 3, 4, 5))),
    ("broadcast to more axes", lambda t, _, b: t.broadcast(b, (2, 4, 3))),
    ("take with repetition", lambda t, a, _: t.take(a, [2, 0, 0], 1)),
    ("stop_gradient", lambda t, a, _: t.stop_gradient(a)),
    ("collect", lambda t, a, _: t.collect((part for part in (a, a * 2, a - 1)), 3, 1)),
    ("carry", lambda t, a, _: t.carry(a * 2, a * 1)),
    ("quotient", lambda t, a, _: t.quotient(a * 2, a * a + 1.0)),
    ("rectify_cotangent", lambda t, a, _: t.rectify_cotangent(a * 1)),
    ("from_numpy", lambda t, a, _: t.from_numpy(np.arange(6.0).reshape(2, 3), a)),
    ("from_numpy of integers", lambda t, a, _: t.from_numpy(np.arange(6), a)),
    ("cast", lambda t, a, _: t.cast(a, "float32")),
    ("arithmetic", lambda _, a, __: (1.0 - a) / (a * a + 2.0) - (-a) * 3.0),
)
"""Name, and the operation on ``a`` (2, 3, 4, 5) and ``b`` (4, 3)."""


def check_tensors(backend: Backend) -> int:
    """Run every case in float64 and float32; return how many.

    Raises
    ------
    ConformanceError
        A result differs from NumPy's in shape, dtype or value; the operation is named.
    """
    count = 0
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
        for name, given, expected in _results(backend, dtype):
            _compare(f"{backend.name}: {name} ({dtype})", given, expected, tolerance)
            count += 1
    return count


def _results(backend: Backend, dtype: str) -> Iterator[tuple[str, Array, Array]]:
    random = np.random.default_rng(7)
    a, b = (random.normal(size=shape).astype(dtype) for shape in ((2, 3, 4, 5), (4, 3)))
    a[0, 0, 0, :2] = 0.0
    for name, operation in CASES:
        native = operation(backend.tensors, backend.tensor(a), backend.tensor(b))
        yield name, backend.tensors.to_numpy(native), np.asarray(operation(NUMPY, a, b))
        if backend.tensors.dtype(native) != str(backend.tensors.to_numpy(native).dtype):
            raise ConformanceError(f"{backend.name}: dtype() does not name the dtype of the result of {name}")


def _compare(what: str, given: Array, expected: Array, tolerance: float) -> None:
    if given.shape != expected.shape:
        raise ConformanceError(f"{what} has shape {given.shape}, NumPy's is {expected.shape}")
    if given.dtype != expected.dtype:
        raise ConformanceError(f"{what} has dtype {given.dtype}, NumPy's is {expected.dtype}")
    if not np.allclose(given, expected, rtol=tolerance, atol=tolerance):
        raise ConformanceError(f"{what} differs from NumPy's by {np.abs(given - expected).max():.3g}")
