"""Pictures of an explanation: chooses the right figure and words for its method."""

import io
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xai_med._optional import optional_import
from xai_med.errors import MissingDependencyError, SettingError
from xai_med.render.clear import clear_figure
from xai_med.render.figure import picture, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xai_med.explanation import Explanation


def figure_of(explanation: "Explanation", image: int = 0, *, title: str | None = None, **drawing: Any) -> "Figure":
    """Draw one image of an explanation.

    Parameters
    ----------
    explanation : Explanation
        With its input kept.
    image : int
        Position in the batch.
    title : str
        By default the method, its layer and the framework.
    **drawing
        Of `xai_med.render.picture`; for CLEAR maps of `xai_med.render.clear_figure`, or ``overlays=True`` for one
        overlay per class instead.

    Raises
    ------
    SettingError
        There is no such image, or the input was not kept.
    """
    if not -1 < image < len(explanation):
        raise SettingError(
            f"image {image} was asked for, the explanation holds {len(explanation)} (0..{len(explanation) - 1})"
        )
    if explanation.input is None:
        raise SettingError("the images were not kept (keep_input=False), so there is nothing to draw the map over")
    pixels = explanation.input[image]
    if title is None:
        title = f"{explanation.method}{f' at {explanation.layer}' if explanation.layer else ''} ({explanation.backend})"
    is_clear = "dominant_class" in explanation.extras and pixels.ndim == 3 and not drawing.pop("overlays", False)
    shown = pixels if pixels.ndim == 2 or pixels.shape[0] in (1, 3) else pixels.mean(axis=0, keepdims=True)
    if is_clear:
        return clear_figure(
            explanation.extras["dominant_class"][image],
            explanation.extras["dominant_response"][image],
            names=explanation.captions(image),
            image=shown,
            title=title,
            **drawing,
        )
    return picture(shown, explanation.maps[image], captions=explanation.captions(image), title=title, **drawing)


def show(explanation: "Explanation", image: int = 0, **drawing: Any) -> None:
    """Display a figure in a notebook where one runs, else in the system's picture viewer."""
    png = _png(figure_of(explanation, image, **drawing))
    kernel = sys.modules.get("IPython")
    if kernel is not None and kernel.get_ipython() is not None and "IPKernelApp" in kernel.get_ipython().config:
        display = optional_import("IPython.display", extra="viz")
        display.display(display.Image(data=png))
        return
    image_library = optional_import("PIL.Image", extra="viz")
    image_library.open(io.BytesIO(png)).show(title=repr(explanation))


def notebook_png(explanation: "Explanation") -> bytes | None:
    """The picture of the first image, None where it cannot be drawn and the text must do."""
    try:
        return _png(figure_of(explanation))
    except (MissingDependencyError, SettingError):
        return None


def _png(figure: "Figure") -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return save_figure(figure, Path(folder) / "figure.png").read_bytes()
