"""The CLEAR picture: which class responds most at each pixel (hue), and how strongly (brightness)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from xai_med._optional import optional_import
from xai_med.backend.tensors import Array
from xai_med.errors import DtypeError, SettingError, ShapeError
from xai_med.maps.finite import finite_floats
from xai_med.render.overlay import displayed
from xai_med.render.text import LITERAL, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DISTINCT_HUE = 0.1
"""Hues of ten classes are this far apart; Kumar et al. advise to show no more at once."""


def clear_picture(
    dominant_class: ArrayLike,
    dominant_response: ArrayLike,
    *,
    number_of_classes: int,
    hues: Sequence[float] | None = None,
    image: ArrayLike | None = None,
    opacity: float = 1.0,
    brightest: float = 100.0,
    gamma: float = 1.0,
) -> Array:
    """Colour each pixel by its dominant class, as bright as that class responds there.

    Parameters
    ----------
    dominant_class : array-like of shape (H, W), int
        From 0 to `number_of_classes` - 1, or -1 where no class responds; such pixels are black.
    dominant_response : array-like of shape (H, W)
        At least 0; brightness is this divided by its maximum, unless `brightest` says otherwise.
    number_of_classes : int
        Of the model, not only of those that occur.
    hues : sequence of float, optional
        One per class, from 0 to 1; by default class / `number_of_classes`.
    image : array-like of shape (H, W) or (C, H, W), optional
        Shown below the colours, see `xai_med.render.overlay.displayed`.
    opacity : float
        Of the colours over the image, from 0 to 1.
    brightest : float
        Percentile of the responses that gets full brightness; 100, the maximum, leaves maps with a few strong
        pixels dark, 99 is a usual choice. Responses above it are equally bright.
    gamma : float
        Brightness is raised to this power; below 1 shows weak responses.

    Returns
    -------
    ndarray of shape (H, W, 3), float64
        Red, green, blue from 0 to 1.

    Raises
    ------
    DtypeError
        `dominant_class` does not hold integers.
    ShapeError
        The arrays differ in shape.
    SettingError
        A class, response, hue or opacity is out of its range.

    References
    ----------
    Kumar, Wong and Taylor 2017, CVPR workshops, equations 4 to 6; empty pixels and the scaling of brightness
    are not specified there.
    """
    classes, response = _checked(dominant_class, dominant_response, number_of_classes)
    if not (0.0 < brightest <= 100.0 and gamma > 0.0):
        raise SettingError(f"brightest is a percentile up to 100 and gamma positive, got {brightest!r} and {gamma!r}")
    colours = np.zeros((*classes.shape, 3))
    if response.any():
        hue = np.asarray(class_hues(number_of_classes, hues))[np.maximum(classes, 0)]
        brightness = np.where(classes < 0, 0.0, np.clip(response / _full(response, brightest), 0.0, 1.0) ** gamma)
        hsv = np.stack([hue, np.ones_like(hue), brightness], axis=-1)
        colours = np.asarray(optional_import("matplotlib.colors", extra="viz").hsv_to_rgb(hsv))
    if not 0.0 <= opacity <= 1.0:
        raise SettingError(f"opacity is a number from 0 to 1, got {opacity!r}")
    if image is None:
        if opacity != 1.0:
            raise SettingError(f"opacity {opacity} needs an image to show through; pass image=")
        return colours
    background = displayed(image, space=2)
    if background.shape != colours.shape:
        raise ShapeError(f"image and classes differ in space: {background.shape[:2]} and {classes.shape}")
    return colours * opacity + background * (1.0 - opacity)


def class_hues(number_of_classes: int, hues: Sequence[float] | None = None) -> tuple[float, ...]:
    """Hue of each class: the given ones, checked, or class / `number_of_classes`."""
    if hues is None:
        return tuple(index / number_of_classes for index in range(number_of_classes))
    chosen = tuple(float(hue) for hue in hues)
    if len(chosen) != number_of_classes or not all(0.0 <= hue <= 1.0 for hue in chosen):
        raise SettingError(f"hues needs {number_of_classes} numbers from 0 to 1, got {chosen}")
    return chosen


def clear_figure(
    dominant_class: ArrayLike,
    dominant_response: ArrayLike,
    *,
    names: Sequence[str],
    hues: Sequence[float] | None = None,
    image: ArrayLike | None = None,
    opacity: float = 1.0,
    brightest: float = 100.0,
    gamma: float = 1.0,
    title: str | None = None,
) -> "Figure":
    """Draw the CLEAR picture with a legend of the classes that occur, beside the original if it is given.

    Parameters
    ----------
    dominant_class, dominant_response, hues, image, opacity, brightest, gamma
        See `clear_picture`.
    names : sequence of str
        One per class of the model; shown literally.
    title : str, optional
        Shown literally.

    Returns
    -------
    matplotlib.figure.Figure
        With its own canvas, unknown to pyplot. The legend also says what share of the pixels no class
        claims, what full brightness means, and which classes have hues too close to tell apart.
    """
    if isinstance(names, str):
        raise SettingError(f"names is a sequence with one name per class, got the text {names!r}")
    colours = clear_picture(
        dominant_class,
        dominant_response,
        number_of_classes=len(names),
        hues=hues,
        image=image,
        opacity=opacity,
        brightest=brightest,
        gamma=gamma,
    )
    classes, response = _checked(dominant_class, dominant_response, len(names))
    figure: Figure = optional_import("matplotlib.figure", extra="viz").Figure(
        figsize=(7.6 if image is None else 10.8, max(4.2, 1.6 + 0.23 * len(np.unique(classes)))), layout="constrained"
    )
    optional_import("matplotlib.backends.backend_agg", extra="viz").FigureCanvasAgg(figure)
    pictures = [("dominant class", colours)]
    if image is not None:
        pictures.insert(0, ("original", displayed(image, space=2)))
    for number, (caption, picture) in enumerate(pictures, start=1):
        axes = figure.add_subplot(1, len(pictures), number)
        axes.imshow(picture, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(caption, fontsize=9)
    if title is not None:
        figure.suptitle(wrapped(title, width=38 if image is None else 70), fontsize=11, **LITERAL)
    full = (
        f"full brightness: response {_full(response, brightest):.3g}"
        if response.any()
        else "no class responds anywhere"
    )
    full += f" and above (percentile {brightest:g})" if brightest < 100.0 and response.any() else ""
    full += f", gamma {gamma:g}" if gamma != 1.0 else ""
    _add_legend(figure, classes, response, names=names, hues=class_hues(len(names), hues), brightness=full)
    return figure


def _full(response: Array, brightest: float) -> float:
    """The response that gets full brightness."""
    chosen = float(np.percentile(response, brightest))
    return chosen if chosen > 0.0 else float(response.max())


def _checked(dominant_class: ArrayLike, dominant_response: ArrayLike, number_of_classes: int) -> tuple[Array, Array]:
    classes = np.asarray(dominant_class)
    if classes.dtype.kind not in "iu":
        raise DtypeError(f"dominant_class holds class indices, integers, got dtype {classes.dtype}")
    classes = classes.astype(np.int64)
    response = finite_floats(dominant_response, "dominant_response").astype(np.float64)
    if classes.ndim != 2 or classes.shape != response.shape or classes.size == 0:
        raise ShapeError(f"classes and responses share one shape (H, W), got {classes.shape}, {response.shape}")
    if classes.min() < -1 or classes.max() >= number_of_classes:
        raise SettingError(
            f"classes go from -1 (none) to {number_of_classes - 1}, got {classes.min()} to {classes.max()}; "
            "check number_of_classes"
        )
    if response.min() < 0:
        raise SettingError(f"responses are at least 0, got {response.min():.6g}; take magnitudes or the positive part")
    return classes, response


def _add_legend(
    figure: Any, classes: Array, response: Array, *, names: Sequence[str], hues: Sequence[float], brightness: str
) -> None:
    colors = optional_import("matplotlib.colors", extra="viz")
    patches = optional_import("matplotlib.patches", extra="viz")
    shown = (classes >= 0) & (response > 0)
    present = [int(index) for index in np.unique(classes[shown])]
    entries = [
        (wrapped(names[index], width=28), tuple(colors.hsv_to_rgb((hues[index], 1.0, 1.0)))) for index in present
    ]
    if not shown.all():
        entries.append((f"no class: {_percent(1.0 - shown.mean())} of pixels", (0.0, 0.0, 0.0)))
    handles = [patches.Patch(facecolor=colour, edgecolor="0.5") for _, colour in entries]
    legend = figure.legend(handles, [str(number) for number in range(len(entries))], loc="outside right upper")
    for text, (label, _) in zip(legend.get_texts(), entries, strict=True):
        text.set(text=label, fontsize=9, **LITERAL)
    notes = [brightness]
    close = _close_hues(present, hues)
    if close:
        notes.append("similar colours: " + "; ".join(f"{names[a]} / {names[b]}" for a, b in close))
    legend.set_title("\n".join(wrapped(note, width=32, lines=6) for note in notes), prop={"size": 8})
    legend.get_title().set(**LITERAL)


def _percent(share: float) -> str:
    """Write a share so that some never reads as 0, and not all never as 100."""
    if 0 < share < 0.001 or 0.999 < share < 1:
        return "under 0.1 %" if share < 0.5 else "over 99.9 %"
    return f"{100 * share:.1f} %"


def _close_hues(present: Sequence[int], hues: Sequence[float]) -> list[tuple[int, int]]:
    """Pairs of classes in the picture that are less than `DISTINCT_HUE` apart on the circle of hues."""
    pairs = [(a, b) for position, a in enumerate(present) for b in present[position + 1 :]]
    gaps = ((abs(hues[a] - hues[b]), (a, b)) for a, b in pairs)
    return [pair for gap, pair in gaps if min(gap, 1.0 - gap) < DISTINCT_HUE - 1e-9]
