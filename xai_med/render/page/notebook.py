"""The page inside a notebook."""

import html
from typing import TYPE_CHECKING

from xai_med.errors import MissingDependencyError, SettingError, ShapeError
from xai_med.render.page.build import html_page

if TYPE_CHECKING:
    from xai_med.explanation import Explanation

_LARGEST = 8_000_000
"""Characters of a page that a notebook should hold; beyond, its picture must do."""


def notebook_frame(explanation: "Explanation") -> str | None:
    """The page in a frame of its own, apart from the notebook's page; None where the picture or the text must do.

    The frame may run the page's script and nothing else: it cannot reach the notebook, its storage, or a network.

    Parameters
    ----------
    explanation : Explanation
        To be shown.
    """
    if explanation.input is None or explanation.maps.ndim != 4 or 3 * explanation.maps.size > _LARGEST:
        return None  # a value takes two bytes, in base 64 nearly three characters
    try:
        page = html_page(explanation, title=repr(explanation)[1:-1])
    except (MissingDependencyError, SettingError, ShapeError):
        return None
    return (
        f'<iframe sandbox="allow-scripts" title="Explanation" style="width: 100%; height: 720px; border: 0" '
        f'srcdoc="{html.escape(page, quote=True)}"></iframe>'
    )
