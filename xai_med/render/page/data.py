"""What a page shows, as plain data: pictures, maps in 65,536 steps, and words."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xai_med._optional import optional_import
from xai_med.backend.tensors import Array
from xai_med.errors import SettingError, ShapeError
from xai_med.render.colour import SIGNED, UNSIGNED, colour_table, to_bytes
from xai_med.render.overlay import displayed

if TYPE_CHECKING:
    from xai_med.explanation import Explanation

_STEPS = 65_535


def page_data(
    explanations: "Sequence[Explanation]", *, names: Sequence[str] | None, colour_map: str | None
) -> Mapping[str, Any]:
    """Everything that the page's script reads."""
    first = _checked(explanations)
    count = len(first)
    given = [f"image {number}" for number in range(count)] if names is None else [str(name) for name in names]
    if len(given) != count:
        raise SettingError(f"{len(given)} names were given for {count} images")
    unsigned = colour_map or UNSIGNED
    return {
        "images": [_image(explanations, number, given[number]) for number in range(count)],
        "tables": {"signed": _table(SIGNED), "unsigned": _table(unsigned)},
        "steps": _STEPS,
    }


def _checked(explanations: "Sequence[Explanation]") -> "Explanation":
    first = explanations[0]
    for each in explanations:
        if each.input is None:
            raise SettingError("the images were not kept (keep_input=False), so there is nothing to draw the map over")
        if each.maps.ndim != 4:
            raise ShapeError(
                f"a page shows two-dimensional images, these have {each.maps.ndim - 2} space axes; use figure()"
            )
        if first.input is None or each.input.shape != first.input.shape or not np.array_equal(each.input, first.input):
            raise SettingError("the explanations are of different images; make a page of those of the same ones")
    return first


def _image(explanations: "Sequence[Explanation]", number: int, name: str) -> Mapping[str, Any]:
    pixels = explanations[0].input
    shown = np.asarray(pixels)[number]
    shown = shown if shown.shape[0] in (1, 3) else shown.mean(axis=0, keepdims=True)
    height, width = shown.shape[1:]
    return {
        "name": name,
        "width": width,
        "height": height,
        "picture": _png(to_bytes(displayed(shown, space=2))),
        "views": [_view(each, number) for each in explanations],
    }


def _view(explanation: "Explanation", number: int) -> Mapping[str, Any]:
    place = f" at {explanation.layer}" if explanation.layer else ""
    captions = explanation.captions(number)
    return {
        "words": f"{explanation.method}{place} ({explanation.backend})",
        "failed": [str(check) for check in explanation.failed_checks],
        "classes": [_map(values, caption) for values, caption in zip(explanation.maps[number], captions, strict=True)],
    }


def _map(values: Array, caption: str) -> Mapping[str, Any]:
    low, high = float(values.min()), float(values.max())
    spread = high - low
    steps = np.zeros(values.shape) if spread == 0 else (values.astype(np.float64) - low) / spread * _STEPS
    return {
        "caption": caption,
        "low": low,
        "high": high,
        "signed": low < 0,
        "values": base64.b64encode(np.rint(steps).astype("<u2").tobytes()).decode(),
    }


def _table(name: str) -> str:
    """256 colours, red, green, blue in bytes."""
    table = colour_table(name)
    places = np.linspace(0, len(table) - 1, 256)
    colours = np.stack([np.interp(places, np.arange(len(table)), table[:, channel]) for channel in range(3)], axis=1)
    return base64.b64encode(to_bytes(colours).tobytes()).decode()


def _png(pixels: Array) -> str:
    stream = io.BytesIO()
    optional_import("PIL.Image", extra="viz").fromarray(pixels).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
