"""Writes one HTML file that holds everything it shows, and asks nothing of any network."""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xai_med._optional import optional_import
from xai_med.errors import SettingError
from xai_med.render.page.data import page_data

if TYPE_CHECKING:
    from xai_med.explanation import Explanation


def html_page(
    explanations: "Explanation | Sequence[Explanation]",
    *,
    names: Sequence[str] | None = None,
    title: str = "Where did the model look?",
    colour_map: str | None = None,
) -> str:
    """One HTML document: original beside overlay, sliders, choice of image, method and class, values under the cursor.

    It works without a network and without a server, by mouse and by keyboard. Names are untrusted text and are shown as
    text. A policy inside the page forbids every request and every script but its own.

    Parameters
    ----------
    explanations : Explanation or sequence of Explanation
        Of the same two-dimensional images by different methods; with their input kept.
    names : sequence of str, optional
        Of the images, such as file names.
    title : str
        Of the page.
    colour_map : str, optional
        For maps without negative values; see `xai_med.render.scale_for`.

    Returns
    -------
    str
        The document.

    Raises
    ------
    SettingError
        Explanations are of different images, of none, or their input was not kept.
    MissingDependencyError
        Jinja2, matplotlib or Pillow is not installed.
    """
    given = [explanations] if not isinstance(explanations, Sequence) else list(explanations)
    if not given:
        raise SettingError("there is no explanation to show")
    jinja = optional_import("jinja2", extra="viz")
    script, style = _part("page.js"), _part("page.css")
    environment = jinja.Environment(autoescape=True, undefined=jinja.StrictUndefined)
    page: str = environment.from_string(_part("page.html")).render(
        title=title,
        policy=_policy(script, style),
        script=jinja.utils.markupsafe.Markup(script),
        style=jinja.utils.markupsafe.Markup(style),
        data=jinja.utils.markupsafe.Markup(_json(page_data(given, names=names, colour_map=colour_map))),
    )
    return page


def save_page(path: str | PathLike[str], explanations: "Explanation | Sequence[Explanation]", **settings: Any) -> Path:
    """Write `html_page` to a file, and return its path.

    Raises
    ------
    SettingError
        The file's name does not end in ``.html``.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise SettingError(f"a page is an .html file, got {path.name!r}")
    path.write_text(html_page(explanations, **settings), encoding="utf-8")
    return path


def _json(data: Any) -> str:
    """JSON that cannot end the element that holds it, whatever names it contains."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(script: str, style: str) -> str:
    def fingerprint(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; img-src data:; script-src {fingerprint(script)}; style-src {fingerprint(style)}; "
        f"base-uri 'none'; form-action 'none'"
    )


@lru_cache
def _part(name: str) -> str:
    return resources.files("xai_med.render.page").joinpath(name).read_text(encoding="utf-8").strip()
