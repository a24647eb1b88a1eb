"""Identities that were verified on a result, with their numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One identity, measured on one result.

    Parameters
    ----------
    name : str
        What was compared.
    value : float
        The measured deviation, share or count; the largest over images and classes.
    tolerance : float or None
        What `value` may be; None where the number is information only.
    note : str
        In words.
    is_count : bool
        Whether values of several images add up; otherwise the largest counts.
    """

    name: str
    value: float
    tolerance: float | None = None
    note: str = ""
    is_count: bool = False

    @property
    def passed(self) -> bool:
        """Whether the value is within its tolerance; always true for information."""
        return self.tolerance is None or self.value <= self.tolerance

    def __str__(self) -> str:
        """One line for people."""
        limit = "" if self.tolerance is None else f" (at most {self.tolerance:.3g})"
        return f"{self.name}: {self.value:.3g}{limit}{'; ' + self.note if self.note else ''}"
