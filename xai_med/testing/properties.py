"""Checks the mathematical claims of a method's card on a small network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from xai_med.backend.network import Backend
from xai_med.backend.tensors import Array
from xai_med.blueprints.blueprint import Blueprint, Step
from xai_med.errors import ConformanceError
from xai_med.explanation import Explanation
from xai_med.front_door import explain
from xai_med.method import Method
from xai_med.targets import Contrast

_ROUNDING = 1e-9
_INTEGRATED = 0.01  # the tolerance of integrated gradients' completeness, unless another was asked for


@dataclass(frozen=True, eq=False)
class Asked:
    """A method on one network, ready to be asked again.

    Parameters
    ----------
    method, backend, blueprint
    images : ndarray of shape (N, C, *space), float64
    settings : mapping
        Of the method.
    """

    method: Method
    backend: Backend
    blueprint: Blueprint
    images: Array
    settings: Mapping[str, Any]

    def explained(self, *, target: Any = "all") -> Explanation:
        """The result, by a model in double precision."""
        model = self.backend.build(self.blueprint, dtype="float64")
        return explain(
            model, self.images, method=self.method.name, target=target, backend=self.backend, **self.settings
        )


def check_properties(asked: Asked) -> None:
    """Check every claim of the method's card.

    Raises
    ------
    ConformanceError
        One does not hold; it is named.
    """
    for claim in asked.method.properties:
        deviation, tolerance = _CLAIMS[claim](asked)
        if not deviation <= tolerance:
            raise ConformanceError(
                f"{asked.method.name} claims to be {claim}, and on {asked.blueprint.name} in {asked.backend.name} it "
                f"is not: off by {deviation:.3g} (at most {tolerance:g})"
            )


def _integrated(asked: Asked) -> float:
    return float(asked.settings.get("tolerance", _INTEGRATED)) * (1 + _ROUNDING)


def _off(first: Array, second: Array) -> float:
    size = max(float(np.abs(first).max()), float(np.abs(second).max()), float(np.finfo(np.float64).tiny))
    return float(np.abs(first - second).max()) / size


def _complete(asked: Asked) -> tuple[float, float]:
    found = asked.explained()
    nothing = replace(asked, images=asked.images * 0, method=asked.method)
    model = asked.backend.build(asked.blueprint, dtype="float64")
    before = explain(model, nothing.images, method="gradient", target="all", backend=asked.backend).scores
    sums = found.attribution.reshape(*found.scores.shape, -1).sum(axis=2)
    rise = found.scores - before
    size = np.maximum(np.abs(rise), np.abs(found.attribution).reshape(*rise.shape, -1).sum(axis=2) / 10)
    return float((np.abs(sums - rise) / size).max()), _integrated(asked)


def _linear_in_target(asked: Asked) -> tuple[float, float]:
    single = asked.explained().attribution
    difference = asked.explained(target=Contrast(0, 1)).attribution
    return _off(difference[:, 0], single[:, 0] - single[:, 1]), _ROUNDING


def _mirror_equivariant(asked: Asked) -> tuple[float, float]:
    mirrored = replace(
        asked,
        blueprint=replace(asked.blueprint, steps=tuple(_mirrored(step) for step in asked.blueprint.steps)),
        images=np.ascontiguousarray(asked.images[..., ::-1]),
    )
    tolerance = 2 * _integrated(asked) if "complete" in asked.method.properties else _ROUNDING
    return _off(mirrored.explained().attribution[..., ::-1], asked.explained().attribution), tolerance


def _mirrored(step: Step) -> Step:
    if step.operation != "convolution":
        return step
    return replace(step, arrays={**step.arrays, "weight": np.ascontiguousarray(step.arrays["weight"][..., ::-1])})


def _non_negative(asked: Asked) -> tuple[float, float]:
    maps = asked.explained().maps
    return max(0.0, -float(maps.min())) / max(float(np.abs(maps).max()), 1e-30), 0.0


def _class_independent(asked: Asked) -> tuple[float, float]:
    found = asked.explained().attribution
    return _off(found, np.broadcast_to(found[:, :1], found.shape)), 0.0


_CLAIMS: Mapping[str, Callable[[Asked], tuple[float, float]]] = MappingProxyType(
    {
        "complete": _complete,
        "linear_in_target": _linear_in_target,
        "mirror_equivariant": _mirror_equivariant,
        "non_negative": _non_negative,
        "class_independent": _class_independent,
    }
)
