"""A method asked again at other images, for the same scores: what averages over noise and paths are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from xai_med.backend.start import Nowhere
from xai_med.backend.tensors import Array, shape_of
from xai_med.checks import Check
from xai_med.errors import NotApplicableError, SettingError
from xai_med.method import Method
from xai_med.registry import get_method
from xai_med.request import Attribution, Explained, Request
from xai_med.same_scores import of_same_scores


def explained_scores(request: Request) -> Explained:
    """The target applied to the images, without any derivative."""
    with request.network.trace(request.batch, start=Nowhere()) as trace:
        return request.explained(trace)


@dataclass(frozen=True, eq=False)
class Repeated:
    """A method with its settings, and the scores that it explains wherever it is asked.

    Parameters
    ----------
    method : Method
        That is asked.
    settings : mapping
        Of the method.
    request : Request
        For the same scores of other images.
    explained : Explained
        Of the caller's images.
    """

    method: Method
    settings: Mapping[str, Any]
    request: Request
    explained: Explained

    def at(self, images: Array) -> Attribution:
        """Ask at images (N, C, *space)."""
        batch = self.request.network.tensors.from_numpy(images, self.request.batch)
        return self.method(replace(self.request, batch=batch), self.settings)

    def scores(self, images: Array) -> Array:
        """The explained scores of images (N, C, *space), (N, K)."""
        batch = self.request.network.tensors.from_numpy(images, self.request.batch)
        return explained_scores(replace(self.request, batch=batch)).selection.scores

    def verified_at(self, images: Array) -> tuple[Check, ...]:
        """The method's own verification, at images (N, C, *space)."""
        if self.method.verification is None:
            return ()
        batch = self.request.network.tensors.from_numpy(images, self.request.batch)
        there = replace(self.request, batch=batch)
        settings = {**self.method.settings, **self.settings}
        return tuple(self.method.verification(there, self.method(there, self.settings), settings))

    def is_at_input(self, found: Attribution) -> bool:
        """Whether values (N, K, C, *space) arise at the input, with its channels."""
        return len(shape_of(found.values)) == len(shape_of(self.request.batch)) + 1


def repeated(request: Request, of: str, settings: Mapping[str, Any] | None, *, by: str) -> Repeated:
    """Fix the scores, and look up the method to be asked.

    Parameters
    ----------
    request : Request
        Of the caller.
    of : str
        Name of the method.
    settings : mapping or None
        Of that method.
    by : str
        Name of the method that asks, for messages.

    Raises
    ------
    UnknownNameError
        There is no such method.
    SettingError
        It asks other methods itself, or does not have these settings.
    NotApplicableError
        The graph of derivatives was to be kept.
    """
    if request.differentiable:
        raise NotApplicableError(f"{by} keeps no graph of derivatives over its samples; ask the method itself")
    method = get_method(of)
    if "of" in method.settings:
        raise SettingError(f"{by} asks a method that explains by itself, and {of!r} asks others; choose of='gradient'")
    if settings is not None and not isinstance(settings, Mapping):
        raise SettingError(f"of_settings is a mapping of names to values, got {settings!r}")
    given = {} if settings is None else dict(settings)
    if given.get("features") is not None:
        raise SettingError(f"features= belong to one image, and {by} asks at others; remove them")
    unknown = sorted(set(given) - set(method.settings))
    if unknown:
        method(request, given)  # raises, naming the settings that exist
    explained = explained_scores(request)
    return Repeated(method, given, of_same_scores(request, explained), explained)
