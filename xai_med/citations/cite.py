"""What to cite for a name, and for a result."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import xai_med
from xai_med.citations.bibliography import entries, entries_of, joined
from xai_med.citations.sources import LIBRARY, METRICS, RULES, SUPERPIXELS
from xai_med.errors import UnknownNameError
from xai_med.registry import get_method, methods, normalised

if TYPE_CHECKING:
    from xai_med.explanation import Explanation

_NO_RULES = ("pulled back from: ", "responses of: ")  # recorded among the rules: where CLEAR begins, what it compares


def citation(name: str) -> str:
    """Return BibTeX of the papers behind a method, a metric, or the library itself.

    Parameters
    ----------
    name : str
        Of a method (`xai_med.methods`), of a function of `xai_med.metrics`, or ``"xai_med"``; hyphens and capitals are
        forgiven.

    Returns
    -------
    str
        One or more entries. Of a method whose source names no paper that is known here, as a plugin's may: a ``@misc``
        with the source as its note.

    Raises
    ------
    UnknownNameError
        There is no such method or metric.
    """
    if not isinstance(name, str):
        raise UnknownNameError(f"a method or metric is named by a string, got {type(name).__name__}")
    key = normalised(name)
    if key == LIBRARY:
        return joined([_library()])
    if key in METRICS:
        return joined(_known(METRICS[key]))
    if key in methods():
        method = get_method(key)
        return joined(entries_of(method.source, name=method.name))
    raise _unknown(name, (*methods(), *METRICS, LIBRARY), "method or metric")


def cite_explanation(explanation: "Explanation", metrics: Iterable[str] = ()) -> str:
    """Return BibTeX of all that made a result; see `xai_med.Explanation.citation`."""
    is_signal = explanation.maps.ndim == 3  # which is cut into tiles instead of superpixels
    found = [*entries_of(explanation.source, name=explanation.method)]
    found += _of_settings(explanation.settings, cuts_tiles=is_signal)
    for line in explanation.rules:
        found += _of_rule(line)
    for name in metrics:
        key = normalised(name) if isinstance(name, str) else ""
        if key not in METRICS:
            raise _unknown(name, METRICS, "metric")
        found += _known(METRICS[key])
    return joined([*found, _library()])


def rule_named_in(line: str) -> str:
    """Name of the rule in a line of a result: ``"z_plus"`` of ``"convolution: z_plus(1e-06)"``.

    Parameters
    ----------
    line : str
        What it acts on, a colon, its name, and in brackets its settings.
    """
    return line.rpartition(": ")[2].partition("(")[0].strip()


def _of_rule(line: str) -> list[str]:
    """Papers of a rule; of one that is not known here a line that says so, which BibTeX skips."""
    rule = rule_named_in(line)
    if rule in RULES:
        return _known(RULES[rule])
    if line.startswith(_NO_RULES):
        return []
    return [f"% no source is known here of the rule: {' '.join(line.split()).replace('@', '(at)')}"]


def _of_settings(settings: Mapping[str, Any], *, cuts_tiles: bool) -> list[str]:
    """Papers of what a setting brought in: a method that was asked in turn, and superpixels."""
    found: list[str] = []
    asked, parts, inner = (settings.get(name) for name in ("of", "parts", "of_settings"))
    if isinstance(asked, str) and normalised(asked) in methods():
        found += entries_of(get_method(asked).source, name=asked)
    if isinstance(parts, str) and parts == "slic" and not cuts_tiles:
        found += _known(SUPERPIXELS)
    return found + (_of_settings(inner, cuts_tiles=cuts_tiles) if isinstance(inner, Mapping) else [])


def _known(identifiers: Iterable[str]) -> list[str]:
    return [entries()[identifier.lower()] for identifier in identifiers]


def _library() -> str:
    """The entry of ``CITATION.cff``, which is not part of an installed package."""
    return (
        f"@misc{{{LIBRARY},\n"
        f"  author    = {{{{The xai\\_med developers}}}},\n"
        f"  title     = {{xai\\_med: explanations of medical-imaging models, the same in every framework}},\n"
        f"  note      = {{Version {xai_med.__version__}}},\n"
        f"}}"
    )


def _unknown(name: object, known: Iterable[str], what: str) -> UnknownNameError:
    names = sorted(known)
    near = get_close_matches(normalised(name) if isinstance(name, str) else "", names, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(names)}"
    return UnknownNameError(f"there is no {what} {name!r}; {hint}")
