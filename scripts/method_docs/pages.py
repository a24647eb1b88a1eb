"""The text of a method's page, and of the index of all pages."""

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from method_docs.counts import Counts
from method_docs.docstrings import as_markdown, docstring, in_cell, joined, title_and_line
from method_docs.examples import FAMILIES, FINE, SEED, code_of, example_of, family_of
from xai_med import citation
from xai_med.method import Method
from xai_med.methods.table import BUILT_IN
from xai_med.registry import get_method
from xai_med.testing import NETWORKS

WRITTEN = (
    "<!-- Written by scripts/method_pages.py from the method's own docstring: change that, and run the script. -->"
)
_TARGETS = {"predicted": "the predicted class", "all": "all classes, at most 20"}
_PLACES = (
    f"Drawn is a phantom of the [demonstration](README.md#the-phantom) (seed {SEED}) with a nodule, in the upper lung "
    "on the left of the picture, and an effusion, at the lung's base on its right."
)

_VEIL = (
    "Colours are almost opaque here, `explanation.figure(opacity=0.8)`, so that single pixels are seen; the even veil "
    "over the chest is the colour of zero, and no finding."
)


def page(name: str) -> str:
    """The page of a method."""
    method = get_method(name)
    said = docstring(method.function)
    title, _ = title_and_line(_module(name))
    parts = [
        WRITTEN,
        f"# {title}",
        f'`explain(model, x, method="{name}")`. [All methods](README.md); [what each is, exactly](../methods.md).',
        _markdown(said.summary),
        *([_markdown(said.more)] if said.more else []),
        *_picture(name, title),
        _card(method),
        "## Example",
        f"```python\n{code_of(name)}\n```",
        *_explained(said.sections.get("Parameters", [])),
        *_settings(method, said.sections.get("Parameters", [])),
        *_returned(said.sections.get("Returns", [])),
        *_refused(said.sections.get("Raises", [])),
        "## Cite",
        "`explanation.citation()` adds the rules in force and the library.",
        f"```bibtex\n{citation(name).strip()}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def index(counts: Mapping[str, Counts]) -> str:
    """The index of all pages."""
    rows = [_row(name, counts[name]) for members in FAMILIES.values() for name in members if name in BUILT_IN]
    heads = "method", "family", "in one line", "cost", "needs", "source", "torch", "paddle", "refuses"
    return (
        "\n\n".join(
            [
                WRITTEN,
                "# All methods",
                "Each page is made of the method's own docstring. Definitions, equation by equation, are in "
                "[methods.md](../methods.md).",
                _table(heads, rows),
                f"The last columns say on how many of the {len(NETWORKS)} networks of `xai_med.testing.NETWORKS` the "
                "method works, as `check_method` finds it, and which it refuses, the same in both frameworks. On those "
                "that it works on, the frameworks agree to 1e-7 of the range in float64.",
                "## The phantom",
                "Pictures on the pages are of this phantom, explained by the demonstration network. They show what a "
                "method's maps look like, and not which method is right: the network was trained with the findings' "
                "places.",
                "![The phantom, and where its nodule and its effusion are](../images/methods/phantom.png)",
            ]
        )
        + "\n"
    )


def _picture(name: str, title: str) -> list[str]:
    example = example_of(name)
    if example.no_picture:
        return [example.no_picture]
    caption = " ".join(filter(None, (_PLACES, example.note, _VEIL if family_of(name) in FINE else "")))
    return [f"![{title} on a phantom](../images/methods/{name}.png)", caption]


def _card(method: Method) -> str:
    verified = "yes, beside those of every method" if method.verification else "no, only those of every method"
    asks = "yes: functions, ONNX sessions" if method.only_asks else "no: operations must be seen"
    rows = [
        ("source", method.source),
        ("cost", method.cost),
        ("needs", method.needs),
        ("explained by default", _TARGETS[method.default_target]),
        ("own checks with `verify=True`", verified),
        ("models that can only be asked", asks),
        ("claimed, and checked", ", ".join(claim.replace("_", " ") for claim in method.properties) or "nothing"),
    ]
    return _table(("", ""), rows)


def _explained(parameters: Sequence[tuple[str, str]]) -> list[str]:
    texts = [text for head, text in parameters if head == "request : Request" and text != "What to explain."]
    return ["## What is explained", *(_markdown(text) for text in texts)] if texts else []


def _settings(method: Method, parameters: Sequence[tuple[str, str]]) -> list[str]:
    said = {}
    for head, text in parameters:
        names, _, kind = head.partition(" : ")
        said.update({name.strip(): (kind, text) for name in names.split(",")})
    rows = []
    for name, default in method.settings.items():
        if name not in said:
            raise ValueError(f"the docstring of {method.name} says nothing of its setting {name!r}")
        kind, text = said[name]
        rows.append((f"`{name}`", kind, f"`{_default(default)}`", _markdown(text)))
    return ["## Settings", _table(("setting", "type", "default", ""), rows)] if rows else []


def _returned(returns: Sequence[tuple[str, str]]) -> list[str]:
    texts = [_markdown(text) for head, text in returns if head == "Attribution"]
    if not texts:
        return []
    return ["## Result", *texts, "`values` is `explanation.attribution`; `explanation.maps` are in the image's space."]


def _refused(raises: Sequence[tuple[str, str]]) -> list[str]:
    rows = [(f"`{head}`", _markdown(text)) for head, text in raises]
    return ["## Refused", _table(("error", "where"), rows)] if rows else []


def _row(name: str, counts: Counts) -> tuple[str, ...]:
    method = get_method(name)
    _, line = title_and_line(_module(name))
    card = (line, method.cost, method.needs, method.source, counts.torch, counts.paddle, counts.refused)
    return f"[`{name}`]({name}.md)", family_of(name), *card


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([in_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _markdown(text: str) -> str:
    paragraphs = (joined(paragraph) for paragraph in text.split("\n\n"))
    return "\n\n".join(as_markdown(paragraph, BUILT_IN) for paragraph in paragraphs)


def _default(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _module(name: str) -> ModuleType:
    return importlib.import_module(BUILT_IN[name].partition(":")[0])
