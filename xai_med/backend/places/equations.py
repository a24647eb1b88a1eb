"""Sums of products in Einstein's notation, with a letter for each axis."""

from collections.abc import Sequence

_SPARE = tuple(map(chr, range(ord("\u0391"), ord("\u03c9"))))
"""Greek letters, for the axes that an ellipsis stands for."""


def labels_of(equation: str, ranks: Sequence[int], rank: int) -> tuple[list[str], str] | None:
    """An equation with a letter for each axis, in place of ellipses; None where it cannot be read."""
    terms, arrow, result = equation.replace(" ", "").partition("->")
    labels = terms.split(",")
    if not arrow:
        counted = "".join(labels).replace(".", "")
        result = "..." * ("..." in terms) + "".join(sorted(c for c in set(counted) if counted.count(c) == 1))
    written = []
    for term, size in zip((*labels, result), (*ranks, rank), strict=True):
        missing = size - len(term.replace("...", ""))
        if missing < 0 or (missing and "..." not in term):
            return None
        written.append(term.replace("...", "".join(reversed(_SPARE[:missing]))))
    if any(len(set(term)) != len(term) for term in written):
        return None  # a diagonal
    return written[:-1], written[-1]
