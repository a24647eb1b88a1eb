"""NumPy docstrings as Markdown."""

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

_HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.MULTILINE)


@dataclass(frozen=True)
class Docstring:
    """A docstring in its parts.

    Parameters
    ----------
    summary : str
        Its first line.
    more : str
        Paragraphs up to the first section.
    sections : dict of str to list of (str, str)
        By heading: what stands before each indented text, and the text on one line.
    """

    summary: str
    more: str
    sections: dict[str, list[tuple[str, str]]]


def docstring(function: Callable[..., Any]) -> Docstring:
    """Take a docstring apart."""
    first, *rest = _HEADING.split(inspect.getdoc(function) or "")
    summary, _, more = first.strip().partition("\n\n")
    bodies = dict(zip(rest[::2], rest[1::2], strict=True))
    return Docstring(joined(summary), more.strip(), {name: _items(body) for name, body in bodies.items()})


def title_and_line(module: Any) -> tuple[str, str]:
    """Of a module's docstring such as ``Grad-CAM: features of a layer.``: what it is called, and the rest."""
    title, colon, line = joined(inspect.getdoc(module) or "").partition(": ")
    if not colon:
        raise ValueError(f"{module.__name__}: its docstring begins with what the method is called, and a colon")
    return title, line[:1].upper() + line[1:]


def joined(text: str) -> str:
    """On one line."""
    return " ".join(text.split())


def as_markdown(text: str, methods: Collection[str] = ()) -> str:
    """Code in single backticks; names of methods lead to their pages."""

    def code(match: re.Match[str]) -> str:
        inner = match[1]
        return f"[`{inner}`]({inner}.md)" if inner in methods else f"`{inner}`"

    return re.sub(r"``(.+?)``", code, text)


def in_cell(text: str) -> str:
    """As it must be written within a table, whose columns are parted by bars."""
    return text.replace("|", "\\|").replace("\n", " ")


def _items(body: str) -> list[tuple[str, str]]:
    """Pairs of a line and the indented lines below it."""
    found: list[tuple[str, list[str]]] = []
    for line in body.strip("\n").splitlines():
        if line and not line.startswith(" "):
            found.append((line.strip(), []))
        elif line:
            found[-1][1].append(line)
    return [(head, joined(" ".join(lines))) for head, lines in found]
