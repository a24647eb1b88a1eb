"""What a profile is: for each method, which settings another library implies, and the array that it would return."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from xai_med.backend.tensors import Array
from xai_med.errors import NotApplicableError, SettingError
from xai_med.explanation import Explanation
from xai_med.method import Method
from xai_med.request import Explained
from xai_med.target_words import as_target
from xai_med.targets import Target

_ANY = (1, 2, 3)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Convention:
    """How a library does one of our methods.

    Parameters
    ----------
    call : str
        What returns the array there.
    differs : str
        How it differs from ours, in words.
    array : callable
        From the finished result to the array: ``array(explanation)[:, k]`` is what the library returns for the k-th
        score of each image, in its own shape.
    settings : mapping of str to tuple
        Settings of ours that make the convention, and the values that they may have: the first is taken where none was
        given.
    defaults : mapping
        Settings that the library lets its caller choose, at its own default.
    required : tuple of str
        Settings that the library has no default for.
    space_axes : tuple of int
        Numbers of space axes that it takes.
    target : callable or None
        What it explains instead of the target.
    refuse : callable or None
        ``refuse(settings, space)`` raises where the library does otherwise.
    asks_score : bool
        Whether it matters if what the library explains is a logit or a probability.
    """

    call: str
    differs: str
    array: Callable[[Explanation], Array]
    settings: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: _NOTHING)
    defaults: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    required: tuple[str, ...] = ()
    space_axes: tuple[int, ...] = _ANY
    target: Callable[[Target], Target] | None = None
    refuse: Callable[[Mapping[str, Any], tuple[int, ...]], None] | None = None
    asks_score: bool = True


@dataclass(frozen=True, eq=False)
class Profile:
    """A library's conventions.

    Parameters
    ----------
    name : str
        As in ``profile="captum"``.
    compared_with : str
        The release that the tests compare with.
    conventions : mapping of str to Convention
        By the name of our method.
    faults : mapping of str to str
        What the library does and the profile does not, because it is a fault: what, and why.
    not_covered : mapping of str to str
        What it has too and the profile has not: which, and why.
    """

    name: str
    compared_with: str
    conventions: Mapping[str, Convention]
    faults: Mapping[str, str]
    not_covered: Mapping[str, str]

    def convention(self, method: str) -> Convention:
        """How the library does a method.

        Raises
        ------
        SettingError
            The profile does not cover the method.
        """
        if method in self.conventions:
            return self.conventions[method]
        why = f" ({self.not_covered[method]})" if method in self.not_covered else ""
        raise SettingError(
            f"profile {self.name!r} does not cover method {method!r}{why}; it covers "
            f"{', '.join(sorted(self.conventions))}"
        )


@dataclass(frozen=True, eq=False)
class Comparison:
    """A profile applied to one method.

    Parameters
    ----------
    profile : Profile
        Of the library.
    method : Method
        Ours.
    """

    profile: Profile
    method: Method

    @property
    def convention(self) -> Convention:
        """How the library does the method."""
        return self.profile.convention(self.method.name)

    def target(self, target: Any) -> Any:
        """What is explained in place of the target that the caller gave."""
        if self.convention.target is None:
            return target
        return self.convention.target(as_target(self.method.default_target if target is None else target))

    def refuse_combined(self, *, layers: Sequence[Any] | None, smoothing: str | None) -> None:
        """Refuse what libraries combine in ways of their own, such as by averaging arrays that were scaled before.

        Raises
        ------
        SettingError
            Several layers, or copies to average over, were asked for.
        """
        for name, given in (("several layers", layers), ("smoothing=", smoothing)):
            if given is not None:
                raise SettingError(
                    f"profile {self.profile.name!r} covers one layer and no copies of images, and {name} was asked "
                    f"for; leave one of them away"
                )

    def settings(self, given: Mapping[str, Any], space: tuple[int, ...]) -> dict[str, Any]:
        """Settings of our method: those given, and those that the library implies.

        Raises
        ------
        SettingError
            A setting that was given contradicts the library's convention, one is missing that it has no default for,
            or it does not take images of so many space axes.
        """
        name, convention = self.profile.name, self.convention
        if len(space) not in convention.space_axes:
            axes = " or ".join(map(str, convention.space_axes))
            raise SettingError(
                f"profile {name!r} covers {self.method.name!r} for {axes} space axes, as {convention.call} does; "
                f"these images have {len(space)}"
            )
        for key, allowed in convention.settings.items():
            if key in given and not any(given[key] is value or given[key] == value for value in allowed):
                raise SettingError(
                    f"{key}={given[key]!r} was given beside profile={name!r}, which implies "
                    f"{key}={' or '.join(map(repr, allowed))}; leave one of them away"
                )
        missing = [key for key in convention.required if given.get(key) is None]
        if missing:
            raise SettingError(
                f"{convention.call} has no default for what is {missing[0]} here; give {missing[0]}= beside "
                f"profile={name!r}"
            )
        fixed = {key: allowed[0] for key, allowed in convention.settings.items()}
        settings = {**convention.defaults, **fixed, **given}
        if convention.refuse is not None:
            convention.refuse({**self.method.settings, **settings}, space)
        return settings

    def completed(self, explanation: Explanation, explained: Explained) -> Explanation:
        """The result with the library's array under the profile's name in `extras`.

        Parameters
        ----------
        explanation : Explanation
            Of our method, with the settings implied.
        explained : Explained
            What was explained.

        Raises
        ------
        NotApplicableError
            The model returns probabilities: the library would explain these, and our result is that of logits.
        """
        is_of_logits = explained.selection.coefficients is not None
        if explained.logits.squash is not None and is_of_logits and self.convention.asks_score:
            raise NotApplicableError(
                f"the model ends in a {explained.logits.squash}, and {self.convention.call} explains what it returns, "
                f"where we explain the logit; give the model without it, or target=Probability(...) where the method "
                f"has it"
            )
        name = self.profile.name
        return replace(
            explanation,
            settings={**explanation.settings, "profile": name},
            extras={**explanation.extras, name: self.convention.array(explanation)},
        )
