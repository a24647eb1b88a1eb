"""Turning a layer's name into what each library wants."""

from typing import Any

from reliability.subject import Question
from reliability.trial import DoesNotApplyError


def module_of(asked: Question) -> Any:
    """The module, for libraries that take modules."""
    return dict(asked.model.named_modules())[asked.layer] if isinstance(asked.layer, str) else asked.layer


def name_of(asked: Question) -> str:
    """The name, for libraries that take names; another model's module has none.

    Raises
    ------
    DoesNotApplyError
        A module was given.
    """
    if not isinstance(asked.layer, str):
        raise DoesNotApplyError("layers are given by name")
    return asked.layer
