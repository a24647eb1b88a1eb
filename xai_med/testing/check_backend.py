"""The conformance kit for backends: every operation, every tiny network, every method, against oracles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from xai_med.backend.network import Backend
from xai_med.backend.tensors import Array
from xai_med.blueprints.blueprint import Blueprint
from xai_med.errors import ConformanceError, NotApplicableError
from xai_med.front_door import explain
from xai_med.testing import oracle
from xai_med.testing.check_tensors import check_tensors
from xai_med.testing.networks import NETWORKS, example_input

TOLERANCE = 1e-7
"""Relative to the range of the oracle's result, in float64; Paddle's average pools keep their divisor in float32."""


@dataclass(frozen=True)
class Conformance:
    """What was compared.

    Parameters
    ----------
    backend : str
    tensor_cases : int
        Comparisons of tensor operations.
    deviations : tuple of (str, str, float)
        Network, quantity, largest difference to the oracle relative to its range.
    """

    backend: str
    tensor_cases: int
    deviations: tuple[tuple[str, str, float], ...]


def check_backend(backend: Backend, *, without: Sequence[str] = ()) -> Conformance:
    """Check that a backend keeps the protocol: what plugin authors run in their tests.

    Parameters
    ----------
    backend : Backend
        Its `build` must know every operation of `xai_med.blueprints.OPERATIONS`.
    without : sequence of str
        Methods that the backend openly refuses, such as ``("lrp",)`` where it has no rules.

    Returns
    -------
    Conformance
        All measured deviations.

    Raises
    ------
    ConformanceError
        An operation, a forward pass or an attribution differs from the NumPy oracle, or the model or the input
        was changed.
    """
    cases = check_tensors(backend)
    deviations = []
    for name, make in NETWORKS.items():
        blueprint = make()
        for quantity, deviation in _check_network(backend, blueprint, without):
            deviations.append((name, quantity, deviation))
            if not deviation <= TOLERANCE:
                raise ConformanceError(
                    f"{backend.name}: {quantity} of network {name!r} differs from the oracle by {deviation:.3g} of its "
                    f"range (at most {TOLERANCE:g})"
                )
    return Conformance(backend.name, cases, tuple(deviations))


def _check_network(backend: Backend, blueprint: Blueprint, without: Sequence[str]) -> list[tuple[str, float]]:
    images = example_input(blueprint, 2, 0).astype(np.float64)
    model = backend.build(blueprint, dtype="float64")
    values = oracle.forward(blueprint, images)[oracle.logits_step(blueprint)]
    native = backend.tensor(images)
    found = []
    for method, expected in _expectations(blueprint, images, values):
        if method in without:
            continue
        explanation = explain(model, native, method=method, target="all", backend=backend)
        found.append((f"attribution by {method}", relative(explanation.attribution, expected)))
        found.append((f"scores by {method}", relative(explanation.scores, values)))
    if not np.array_equal(backend.tensors.to_numpy(native), images):
        raise ConformanceError(f"{backend.name}: the input of network {blueprint.name!r} was changed")
    return found


def _expectations(blueprint: Blueprint, images: Array, logits: Array) -> list[tuple[str, Array]]:
    """Method, and the oracle's attribution for all classes."""
    start = oracle.logits_step(blueprint)

    def gradient(k: int) -> Array:
        cotangent = np.zeros_like(logits)
        cotangent[:, k] = 1.0
        return oracle.vector_jacobian(blueprint, images, of=start, cotangent=cotangent)

    def per_class(function: Callable[[int], Array]) -> Array:
        return np.stack([function(k) for k in range(logits.shape[1])], axis=1)

    expected = [
        ("gradient", per_class(gradient)),
        ("lrp", per_class(lambda k: oracle.relevance(blueprint, images, target=k))),
    ]
    try:
        features, weights, _ = oracle.class_maps(blueprint, images)
    except NotApplicableError:
        return expected
    return [*expected, ("cam", np.einsum("nc...,kc->nk...", features, weights))]


def relative(given: Array, expected: Array) -> float:
    """Largest difference, relative to the range of `expected`; infinite where shapes differ."""
    if given.shape != expected.shape:
        return float("inf")
    span = float(np.ptp(expected)) or 1.0
    return float(np.abs(given.astype(np.float64) - expected).max()) / span
