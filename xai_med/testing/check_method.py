"""The conformance kit for methods: what holds for every method in every installed framework."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from xai_med.backend.network import Backend
from xai_med.backend.tensors import Array
from xai_med.blueprints.blueprint import Blueprint
from xai_med.errors import ConformanceError, NotApplicableError, SettingError, UnsupportedOperationError, XaiMedError
from xai_med.front_door import attribute, explain
from xai_med.method import Method
from xai_med.registry import get_backend, get_method
from xai_med.testing.check_backend import relative
from xai_med.testing.networks import NETWORKS, example_input
from xai_med.testing.properties import Asked, check_properties

TOLERANCE = 1e-7
"""Between frameworks, batches and repetitions, relative to the range, in float64."""

_FRAMEWORKS = ("torch", "paddle")
_THOROUGH = ("vgg_like", "densenet_like", "volume")  # repetition, single images and settings are checked on these
_CLAIMED_ON = "vgg_like"


@dataclass(frozen=True)
class MethodConformance:
    """Where a method worked and where it refused.

    Parameters
    ----------
    method : str
    worked, refused : tuple of str
        Networks, each as ``"framework: network"``.
    between_frameworks : float
        Largest difference of the same network's attribution, relative to its range; 0 with one framework.
    """

    method: str
    worked: tuple[str, ...]
    refused: tuple[str, ...]
    between_frameworks: float


Settings: TypeAlias = Mapping[str, Any] | Callable[[Blueprint], Mapping[str, Any]]
"""Settings of a method, or a function that makes them for a network, as for reference images of its input's shape."""

NativeModel: TypeAlias = Callable[[Backend], tuple[Any, Array]]
"""Makes a model of a backend's framework in evaluation mode, in float64, and two images for it (2, C, *space)."""


@dataclass(frozen=True, eq=False)
class _Case:
    """One network in one framework, and with what a method is asked there."""

    network: str
    model: Any
    images: Array
    settings: Mapping[str, Any]
    is_thorough: bool


def check_method(
    name: str,
    *,
    backends: Sequence[Backend] = (),
    settings: Settings | None = None,
    models: Mapping[str, NativeModel] | None = None,
) -> MethodConformance:
    """Check that a registered method keeps the contract: what plugin authors run in their tests.

    On every tiny network it must give maps of the input's space for all classes, equal in all frameworks, or refuse
    by one of our exceptions, the same everywhere. On some, also: equal for one image alone and in a batch, equal
    when repeated, and no setting accepted that does not exist. On one, the properties that its card claims.

    Parameters
    ----------
    name : str
        Of the method.
    backends : sequence of Backend
        Those of the installed frameworks by default.
    settings : mapping or callable, optional
        Of a method that cannot do without, or that would take long; a callable gets the network's blueprint.
    models : mapping of str to callable, optional
        Further networks, which no blueprint states, such as transformers; everything is checked on each.

    Raises
    ------
    ConformanceError
        A claim does not hold; it is named.
    SettingError
        One of `models` has the name of a network of the kit, or settings of a blueprint are asked for it.
    """
    method = get_method(name)
    _check_card(method)
    chosen = list(backends) or [get_backend(n) for n in _FRAMEWORKS if importlib.util.find_spec(n) is not None]
    if not chosen:
        raise ConformanceError("no framework is installed to check the method in; give backends=")
    worked: list[str] = []
    refused: list[str] = []
    largest = 0.0
    further = {} if models is None else models
    plain = _plain_settings(settings, further)
    for network in (*NETWORKS, *further):
        found: dict[str, Array | str] = {}
        for backend in chosen:
            if network in further:
                case = _Case(network, *further[network](backend), plain, True)
            else:
                case = _case_of_kit(network, backend, {} if settings is None else settings)
            found[backend.name] = _run(method, backend, case)
            place = f"{backend.name}: {network}"
            (refused if isinstance(found[backend.name], str) else worked).append(place)
        largest = max(largest, _compare(name, network, found))
    for backend in chosen if f"{chosen[0].name}: {_CLAIMED_ON}" in worked else ():
        _check_claims(method, backend, settings)
    if not worked:
        raise ConformanceError(
            f"method {name!r} refuses every network of the kit; give one that it works on in models="
        )
    return MethodConformance(name, tuple(worked), tuple(refused), largest)


def _check_claims(method: Method, backend: Backend, settings: Settings | None) -> None:
    """On a network whose mirror image is a network too."""
    blueprint = NETWORKS[_CLAIMED_ON]()
    given = settings(blueprint) if callable(settings) else settings or {}
    check_properties(Asked(method, backend, blueprint, example_input(blueprint, 2, 1).astype(np.float64), given))


def _check_card(method: Method) -> None:
    if not method.source:
        raise ConformanceError(f"method {method.name!r} names no source")
    if not method.function.__doc__:
        raise ConformanceError(f"method {method.name!r} has no docstring")


def _plain_settings(settings: Settings | None, further: Mapping[str, NativeModel]) -> Mapping[str, Any]:
    """What a method is asked on networks without a blueprint."""
    if taken := sorted(set(further) & set(NETWORKS)):
        raise SettingError(
            f"the kit has networks of the names {', '.join(taken)} already; name those of models= otherwise"
        )
    if not callable(settings):
        return {} if settings is None else settings
    if further:
        raise SettingError("models= have no blueprint that settings= could be made for; give settings as a mapping")
    return {}


def _case_of_kit(network: str, backend: Backend, settings: Settings) -> _Case:
    blueprint = NETWORKS[network]()
    images = example_input(blueprint, 2, 1).astype(np.float64)
    given = settings(blueprint) if callable(settings) else settings
    return _Case(network, backend.build(blueprint, dtype="float64"), images, given, network in _THOROUGH)


def _run(method: Method, backend: Backend, case: _Case) -> Array | str:
    """The attribution for all classes, or the type of the refusal."""
    model, images, given = case.model, case.images, case.settings
    what = f"{method.name} on {case.network} in {backend.name}"
    try:
        explanation = explain(model, images, method=method.name, target="all", backend=backend, **given)
    except (NotApplicableError, UnsupportedOperationError) as refusal:
        return type(refusal).__name__
    except XaiMedError as error:
        raise ConformanceError(f"{what} failed: {error}") from error
    if explanation.maps.shape != (2, explanation.scores.shape[1], *images.shape[2:]):
        raise ConformanceError(f"{what}: maps have shape {explanation.maps.shape} for input {images.shape}")
    if not np.isfinite(explanation.maps).all():
        raise ConformanceError(f"{what}: maps hold NaN or infinite values")
    if not case.is_thorough:
        return explanation.attribution

    def native(some: Array) -> Array:
        found = attribute(model, some, method=method.name, target="all", backend=backend, **given)
        return backend.tensors.to_numpy(found)

    _check_same(what, "repeated", explanation.attribution, native(images))
    alone = np.concatenate([native(images[n : n + 1]) for n in range(2)])
    _check_same(what, "one image at a time", explanation.attribution, alone)
    _check_settings(what, method, backend, model, images)
    return explanation.attribution


def _check_same(what: str, how: str, first: Array, second: Array) -> None:
    deviation = relative(second, first)
    if not deviation <= TOLERANCE:
        raise ConformanceError(f"{what}: {how}, it differs by {deviation:.3g} of its range (at most {TOLERANCE:g})")


def _check_settings(what: str, method: Method, backend: Backend, model: Any, images: Array) -> None:
    try:
        explain(model, images, method=method.name, backend=backend, no_such_setting=1)
    except SettingError:
        return
    raise ConformanceError(f"{what}: a setting that does not exist was accepted")


def _compare(name: str, network: str, found: dict[str, Array | str]) -> float:
    (first_name, first), *others = found.items()
    largest = 0.0
    for other_name, other in others:
        if isinstance(first, str) or isinstance(other, str):
            if not (isinstance(first, str) and isinstance(other, str) and first == other):
                raise ConformanceError(f"{name} on {network}: {first_name} and {other_name} disagree on refusing it")
            continue
        deviation = relative(other, first)
        if not deviation <= TOLERANCE:
            raise ConformanceError(
                f"{name} on {network}: {first_name} and {other_name} differ by {deviation:.3g} of the range"
            )
        largest = max(largest, deviation)
    return largest
