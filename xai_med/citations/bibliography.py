"""The entries of ``references.bib``, found by the identifiers that docstrings and methods' sources are written with."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

_IDENTIFIER = re.compile(r"arXiv:\d{4}\.\d{4,5}|doi:10\.\d+/[^\s,;]+|https?://[^\s,;]+", re.IGNORECASE)
_FIELD = re.compile(r"^  (eprint|doi|url) += \{(.+)\},$", re.MULTILINE)
_PREFIX = {"eprint": "arxiv:", "doi": "doi:", "url": ""}
_ENDS_A_SENTENCE = ".:)]}\"'`"


def identifiers(text: str) -> tuple[str, ...]:
    """Arxiv numbers, DOIs and addresses in a text, in its order, each once and in lower case.

    Parameters
    ----------
    text : str
        Such as ``"Zhou et al. 2016, arXiv:1512.04150, equation 2"``.
    """
    found = (match.group().lower().rstrip(_ENDS_A_SENTENCE) for match in _IDENTIFIER.finditer(text))
    return tuple(dict.fromkeys(found))


@cache
def entries() -> Mapping[str, str]:
    """BibTeX entries by identifier; one that has several, as an article with a preprint, is found by each."""
    text = resources.files("xai_med.citations").joinpath("references.bib").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for entry in text.strip().split("\n\n"):
        for field, value in _FIELD.findall(entry):
            found[_PREFIX[field] + value.lower()] = entry
    return MappingProxyType(found)


def entries_of(text: str, *, name: str) -> tuple[str, ...]:
    """Entries of all that a source names; the source itself as a note where it names what is not known here.

    Parameters
    ----------
    text : str
        Of a method, maybe a plugin's.
    name : str
        Of the method, for the note.
    """
    known, named = entries(), identifiers(text)
    found = [known[identifier] for identifier in named if identifier in known]
    if not named or len(found) < len(named):
        found.append(_note(name, text))
    return tuple(dict.fromkeys(found))


def joined(found: Iterable[str]) -> str:
    """Entries one after the other, without repetition, as the text of a ``.bib`` file."""
    return "\n\n".join(dict.fromkeys(found)) + "\n"


def _note(name: str, source: str) -> str:
    key = re.sub(r"[^a-z0-9_]", "_", name.lower())
    fields = f"  title     = {{{_plain(name)}}},\n  note      = {{{_plain(source) or 'no source'}}},\n"
    return f"@misc{{xai_med_{key},\n{fields}}}"


def _plain(text: str) -> str:
    """A text that LaTeX prints as it is, on one line."""
    special = {"\\": "/", "{": "(", "}": ")", "~": " ", "^": " ", **{each: f"\\{each}" for each in "&%$#_"}}
    return " ".join("".join(special.get(letter, letter) for letter in text).split())
