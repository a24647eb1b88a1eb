"""What a registered method is: its function, its card, its settings."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from xai_med.checks import Check
from xai_med.errors import SettingError

if TYPE_CHECKING:
    from typing import TypeAlias

    from xai_med.request import Attribution, Request

    Verification: TypeAlias = Callable[[Request, Attribution, Mapping[str, Any]], Sequence[Check]]


_KINDS: Mapping[Any, tuple[Any, str]] = MappingProxyType(
    {
        bool: (bool, "True or False"),
        int: (int, "a whole number"),
        float: ((int, float), "a number"),
        str: (str, "a word"),
    }
)
"""What a setting annotated so may be."""

CELLS_AT_ONCE = 24 * 224 * 224
"""Of methods that pull every class back to the input; measured on DenseNet-121 and ResNets (docs/performance.md)."""


PROPERTIES = ("complete", "linear_in_target", "mirror_equivariant", "non_negative", "class_independent")
"""What can be claimed of a method at its defaults, and is then checked by `xai_med.testing.check_method`.

``complete``: the attribution's sum is the score less that of the zero image. ``linear_in_target``: that of a difference
of logits is the difference of theirs. ``mirror_equivariant``: of a mirrored image by a mirrored model it is mirrored.
``non_negative``: no place of a map is below zero. ``class_independent``: it is the same for every class.
"""


@dataclass(frozen=True)
class Method:
    """A registered method.

    Parameters
    ----------
    name : str
        As in ``method="grad_cam"``.
    function : callable
        ``function(request, *, settings) -> Attribution``.
    source : str
        The paper and equation.
    cost : str
        In forward passes and pullbacks.
    needs : str
        What a model must have.
    default_target : str
        Taken when the caller names none: ``"predicted"`` or ``"all"``.
    verification : callable or None
        ``verification(request, attribution, settings) -> checks``: independent numbers for ``verify=True``, beside
        those that every method gets; it raises `IdentityError` where the result is wrong.
    cells_at_once : int or None
        Most values of maps, images times classes times pixels, that are worth computing at once: beyond, activations
        leave the processor's caches, each image takes longer, and memory grows. None: the whole batch, always.
    only_asks : bool
        Whether the model's answers suffice, so that models whose operations cannot be seen are explained too.
    properties : tuple of str
        Some of `PROPERTIES`.
    """

    name: str
    function: "Callable[..., Attribution]"
    source: str
    cost: str = ""
    needs: str = ""
    default_target: str = "predicted"
    verification: "Verification | None" = None
    cells_at_once: int | None = None
    only_asks: bool = False
    properties: tuple[str, ...] = ()

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """Names and defaults of the method's settings."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}

    @cached_property
    def refuses(self) -> Mapping[str, str]:
        """What the method raises and when, as its docstring says: name of the exception to words."""
        _, _, section = (inspect.getdoc(self.function) or "").partition("Raises\n------\n")
        found: dict[str, str] = {}
        name = ""
        for line in section.splitlines():
            if set(line) == {"-"}:
                found.pop(name, None)  # the title of the next section
                break
            if line and not line.startswith(" "):
                name = line.strip()
                found[name] = ""
            elif line.strip():
                found[name] = f"{found[name]} {line.strip()}".strip()
        return found

    def card(self) -> str:
        """Several lines for people: source, cost, what it needs, what it refuses, what it claims."""
        lines = [
            self.name,
            f"  source: {self.source}",
            f"  cost: {self.cost or 'not stated'}",
            f"  needs: {self.needs or 'not stated'}",
            f"  models that can only be asked: {'yes' if self.only_asks else 'no'}",
            f"  claims: {', '.join(self.properties) or 'nothing'}",
            *(f"  refuses, {name}: {words}" for name, words in self.refuses.items()),
        ]
        return "\n".join(lines)

    def __call__(self, request: "Request", settings: Mapping[str, Any]) -> "Attribution":
        """Run the method.

        Raises
        ------
        SettingError
            A setting that the method does not have.
        """
        unknown = sorted(set(settings) - set(self.settings))
        if unknown:
            raise SettingError(
                f"method {self.name!r} has no setting {', '.join(map(repr, unknown))}; "
                f"it has {', '.join(self.settings) or 'none'}"
            )
        return self.function(request, **{name: self._of_kind(name, value) for name, value in settings.items()})

    def _of_kind(self, name: str, value: Any) -> Any:
        """A setting as the kind of number or word that the method's signature names; a NumPy number as Python's."""
        wanted = self._kinds.get(name)
        is_numpys = type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
        plain = value.item() if is_numpys else value
        if wanted not in _KINDS:
            return value
        known, words = _KINDS[wanted]
        if not isinstance(plain, known) or (isinstance(plain, bool) and wanted is not bool):
            raise SettingError(f"{name} is {words}, got {value!r}")
        if name == "seed" and plain < 0:
            raise SettingError(f"seed is a whole number of at least 0, got {value!r}")
        return plain

    @cached_property
    def _kinds(self) -> Mapping[str, Any]:
        return {name: each.annotation for name, each in inspect.signature(self.function).parameters.items()}
