"""Pictures of the pages: the figure of the page's own example, small."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from method_docs.examples import SEED, code_of, drawing_of
from xai_med.demo.phantoms import phantoms
from xai_med.render import picture, save_figure

_GREYS, _COLOURS = 40, 216
_GREY = 10  # a pixel whose channels differ by less; noise of the phantom, which needs few levels


def draw(name: str, path: Path) -> None:
    """Draw a method's picture, or ``"phantom"``."""
    save_figure(_figure(name), path, dpi=66)
    with Image.open(path) as drawn:
        fewer = few_colours(drawn.convert("RGB"))
    fewer.save(path, optimize=True)


def few_colours(drawn: Image.Image) -> Image.Image:
    """With a palette of 256, most of them for what is coloured: a scale of eight bands would be misread."""
    values = np.asarray(drawn).astype(np.int64)
    coloured = np.ptp(values, axis=2) >= _GREY
    greys = np.repeat(np.linspace(0, 255, _GREYS).round()[:, None], 3, axis=1)
    palette = greys
    if coloured.any():
        each_once = np.unique(values[coloured] // 4 * 4, axis=0)  # else the colours of the veil take all
        line = Image.fromarray(each_once[None].astype(np.uint8)).quantize(_COLOURS)
        palette = np.concatenate([greys, np.reshape(line.getpalette(), (-1, 3))[:_COLOURS]])
    colours, which = np.unique(values.reshape(-1, 3), axis=0, return_inverse=True)
    nearest = np.array([((colour - palette) ** 2).sum(axis=1).argmin() for colour in colours], dtype=np.uint8)
    found = Image.fromarray(nearest[which.reshape(values.shape[:2])], mode="P")
    found.putpalette(palette.astype(np.uint8).ravel().tolist())
    return found


def _figure(name: str) -> Any:
    if name == "phantom":
        chest = phantoms(1, seed=SEED, prevalence=0.4)
        return picture(chest.images[0], chest.masks[0, :2].astype(float), captions=chest.names[:2])
    scope: dict[str, Any] = {}
    exec(compile(code_of(name), f"docs/methods/{name}.md", "exec"), scope)
    return scope["explanation"].figure(**drawing_of(name))
