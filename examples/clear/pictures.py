"""Figures of the studies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from examples.clear.attentive import most_attentive
from xai_med import Explanation
from xai_med.backend.tensors import Array
from xai_med.render import class_hues, clear_picture


def digits_figure(found: Explanation, labels: Array, names: Sequence[str], path: Path) -> None:
    """A row per image: the image, the true class's response beside the strongest other one's, and CLEAR."""
    figure = Figure(figsize=(6.4, 1.55 * len(found) + 0.8), layout="constrained")
    axes = figure.subplots(len(found), 3, squeeze=False)
    for number, row in enumerate(axes):
        image, label = np.asarray(found.input)[number, 0], int(labels[number])
        true, other = found.maps[number, label], np.delete(found.maps[number], label, axis=0).max(axis=0)
        predicted = int(found.scores[number].argmax())
        row[0].imshow(image, cmap="gray", vmin=0, vmax=1)
        row[0].set_ylabel(f"is {names[label]}\nread as {names[predicted]}", fontsize=9)
        row[1].imshow(_binary(true, other))
        row[2].imshow(_clear(found, number, len(names)))
        for each in row:
            each.set_xticks([])
            each.set_yticks([])
    for each, title in zip(axes[0], ("image", "true class (red) or another (green)", "CLEAR"), strict=True):
        each.set_title(title, fontsize=9)
    _legend(figure, names)
    figure.savefig(path, dpi=130)


def grades_figure(
    found: Explanation,
    photographs: Array,
    masks: Array,
    truths: Sequence[int],
    names: Sequence[str],
    path: Path,
    boxed: int | None = None,
) -> None:
    """A row per photograph: the photograph, CLEAR on one scale for all, the most attentive region, and lesions."""
    height, width = photographs.shape[1:3]
    figure = Figure(figsize=(7.2, 2.2 * len(found) * height / width + 1.0), layout="constrained")
    axes = figure.subplots(len(found), 3, squeeze=False)
    dominance = _clear_alike(found, len(names))
    for number, row in enumerate(axes):
        colours = photographs[number]
        grade = int(found.scores[number].argmax())
        row[0].imshow(colours)
        row[0].set_ylabel(f"is {names[truths[number]]}\ngraded {names[grade]}", fontsize=9)
        row[1].imshow(dominance[number])
        row[2].imshow(colours)
        if masks[number].any():
            row[2].contour(masks[number], levels=[0.5], colors="cyan", linewidths=0.7)
        box = most_attentive(found, number, of=boxed)
        if box is not None:
            corner = (box.x - 0.5, box.y - 0.5)  # pixels are drawn around their centres
            row[2].add_patch(Rectangle(corner, box.width, box.height, fill=False, edgecolor="red", lw=1.8))
        for each in row:
            each.set_xticks([])
            each.set_yticks([])
    titles = ("photograph", "CLEAR", "box: most attentive; cyan: lesion")
    for each, title in zip(axes[0], titles, strict=True):
        each.set_title(title, fontsize=9)
    _legend(figure, names)
    figure.savefig(path, dpi=130)


def _clear(found: Explanation, image: int, classes: int) -> Array:
    return clear_picture(
        found.extras["dominant_class"][image],
        found.extras["dominant_response"][image],
        number_of_classes=classes,
        brightest=99.0,
    )


def _clear_alike(found: Explanation, classes: int) -> Array:
    """Equally bright is equally strong, also in different images."""
    positions, responses = (found.extras[name] for name in ("dominant_class", "dominant_response"))
    images, height, width = np.shape(positions)
    below = (images * height, width)  # as one tall image, whose brightest part sets the scale
    picture = clear_picture(
        np.reshape(positions, below), np.reshape(responses, below), number_of_classes=classes, brightest=99.5
    )
    return picture.reshape(images, height, width, 3)


def _binary(true: Array, other: Array) -> Array:
    """Red where the true class responds most, green where another does, as bright as it responds."""
    strength = np.clip(np.maximum(true, other) / max(float(np.percentile(np.maximum(true, other), 99)), 1e-12), 0, 1)
    is_true = true >= other
    return np.stack([strength * is_true, strength * ~is_true, np.zeros_like(strength)], axis=-1)


def _legend(figure: Any, names: Sequence[str]) -> None:
    from matplotlib.colors import hsv_to_rgb

    handles = [
        Patch(color=tuple(hsv_to_rgb((hue, 1, 1))), label=name)
        for hue, name in zip(class_hues(len(names)), names, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(names), 10), fontsize=8, frameon=False)
