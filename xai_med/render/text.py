"""Captions that come from outside: shown as they are, never interpreted, never cut without a mark."""

import textwrap
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from xai_med._optional import optional_import
from xai_med.backend.tensors import Array

LITERAL: Mapping[str, Any] = MappingProxyType({"parse_math": False, "usetex": False})
"""Settings of matplotlib texts that keep ``$`` and backslashes as characters."""

ELLIPSIS = "…"


def plain_text(text: str) -> str:
    """Replace control characters, line breaks and direction marks by spaces."""
    return "".join(character if character.isprintable() else " " for character in text)


def wrapped(text: str, *, width: int, lines: int = 4) -> str:
    """Break a text into at most `lines` lines of `width` characters; a cut is marked by an ellipsis."""
    return "\n".join(textwrap.wrap(plain_text(text), width, max_lines=lines, placeholder=ELLIPSIS))


def draw_text(height: int, width: int, text: str, *, size: int = 13, baseline: int, left: int = 5) -> Array:
    """Draw one line of text as coverage, in Pillow's own font; smaller if it must be, then with an ellipsis.

    Parameters
    ----------
    height, width : int
        Of the area, in pixels.
    size : int
        Of the font, in pixels; goes down to 9 if the text is too wide.
    baseline, left : int
        Where the text starts, in pixels from the top and the left.

    Returns
    -------
    ndarray of shape (height, width), float64
        From 0 (no ink) to 1.
    """
    pillow_font = optional_import("PIL.ImageFont", extra="viz")
    room = width - 2 * left
    shown = plain_text(text)
    font = pillow_font.load_default(size)
    while font.getlength(shown) > room and size > 9:
        size -= 1
        font = pillow_font.load_default(size)
    while len(shown) > 1 and font.getlength(shown) > room:
        shown = shown.removesuffix(ELLIPSIS)[:-1] + ELLIPSIS
    area = optional_import("PIL.Image", extra="viz").new("L", (width, height), 0)
    pen = optional_import("PIL.ImageDraw", extra="viz").Draw(area)
    pen.text((left, baseline), shown, fill=255, font=font, anchor="ls")
    return np.asarray(area, dtype=np.float64) / 255.0
