"""What the demonstration leaves behind: a table for the terminal, pictures and one page in a folder."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from xai_med._optional import optional_import
from xai_med.backend.tensors import Array
from xai_med.demo.measure import TOLERANCE_PIXELS, Measured, centre_hit_rates, example_index
from xai_med.demo.phantoms import FINDINGS, Phantoms
from xai_med.render import chexnet_montage, save_figure

POOR_HIT_RATE = 0.5
"""Below it a method is said to miss a finding."""

Row = tuple[str, ...]


def table(measured: Sequence[Measured], phantoms: Phantoms) -> tuple[Row, list[Row]]:
    """Header and rows: method, framework, milliseconds, differences, hits by finding; last the centre's."""
    header = ("method", "framework", "ms/image", "differs", "at most", *FINDINGS, "all")
    counts = phantoms.labels.sum(axis=0)
    rows = [
        (
            one.method,
            one.framework,
            f"{1000 * one.seconds:.1f}",
            *(
                ("", "")
                if one.differences is None
                else (f"{np.median(one.differences):.0e}", f"{one.differences.max():.0e}")
            ),
            *_percent(one.hits, counts),
        )
        for one in measured
    ]
    rows.append(("centre of the image", "", "", "", "", *_percent(centre_hit_rates(phantoms), counts)))
    rows.append(("present in", "", "", "", "", *(str(count) for count in counts), str(counts.sum())))
    return header, rows


def _percent(hits: Array, counts: Array) -> Row:
    overall = float((hits * counts).sum() / max(int(counts.sum()), 1))
    return (*(f"{100 * hit:.0f} %" for hit in hits), f"{100 * overall:.0f} %")


def as_text(header: Row, rows: Sequence[Row]) -> str:
    """Align a table for a terminal."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (header, *rows)
    ]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(line.rstrip() for line in lines)


def remarks(measured: Sequence[Measured]) -> list[str]:
    """What the table should not leave to the reader: which method misses which finding."""
    reference = measured[0].framework
    texts = []
    for one in measured:
        if one.framework != reference:
            continue
        missed = [
            f"{name} ({100 * hit:.0f} %)" for name, hit in zip(FINDINGS, one.hits, strict=True) if hit < POOR_HIT_RATE
        ]
        if missed:
            texts.append(f"{one.method} misses more than half of: {', '.join(missed)}.")
    return texts


def write_pictures(folder: Path, measured: Sequence[Measured], phantoms: Phantoms) -> list[tuple[str, str]]:
    """Write overlays, the CheXNet-style montage and the CLEAR picture; return file names with captions."""
    index = example_index(phantoms)
    present = [name for name, has in zip(FINDINGS, phantoms.labels[index], strict=True) if has]
    written = []
    for one in measured:
        name = f"{one.method}_{one.framework}.png"
        if one.method == "clear":
            save_figure(one.example.figure(brightest=99), folder / name)
            written.append((name, f"CLEAR in {one.framework}: which affirmed finding dominates where"))
            overlays = f"clear_responses_{one.framework}.png"
            save_figure(one.example.figure(overlays=True), folder / overlays)
            written.append((overlays, f"CLEAR in {one.framework}: the response of each affirmed finding"))
        else:
            save_figure(one.example.figure(), folder / name)
            written.append((name, f"{one.method} in {one.framework}"))
    written.append((_write_truth(folder, phantoms, index), f"the truth: {', '.join(present) or 'no finding'}"))
    for one in measured:
        if one.method == "cam":
            written.append(
                (
                    _write_montage(folder, one, phantoms.images[index, 0]),
                    f"CheXNet-style montage of cam in {one.framework}",
                )
            )
    return written


def _write_truth(folder: Path, phantoms: Phantoms, index: int) -> str:
    from xai_med.render import picture

    captions = [
        f"{name}: {'present' if has else 'absent'}" for name, has in zip(FINDINGS, phantoms.labels[index], strict=True)
    ]
    figure = picture(
        phantoms.images[index], phantoms.masks[index].astype(np.float32), captions=captions, title="known findings"
    )
    save_figure(figure, folder / "truth.png")
    return "truth.png"


def _write_montage(folder: Path, measured: Measured, image: Array) -> str:
    pillow = optional_import("PIL.Image", extra="viz")
    shown = pillow.fromarray(np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)).resize(
        (224, 224), pillow.Resampling.BILINEAR
    )
    captions = ["Original", *(text.replace(" %", "%") for text in measured.example.captions())]
    pixels = chexnet_montage(np.asarray(shown), measured.example.attribution[0], captions[1:])
    name = f"montage_{measured.framework}.png"
    pillow.fromarray(pixels).save(folder / name)
    return name


def write_page(
    folder: Path, header: Row, rows: Sequence[Row], pictures: Sequence[tuple[str, str]], texts: Sequence[str]
) -> Path:
    """Write the index page; every text in it is escaped."""
    jinja = optional_import("jinja2", extra="viz")
    source = resources.files("xai_med.demo").joinpath("index.html.jinja").read_text(encoding="utf-8")
    page = jinja.Environment(autoescape=True, undefined=jinja.StrictUndefined).from_string(source)
    path = folder / "index.html"
    path.write_text(
        page.render(header=header, rows=rows, pictures=pictures, remarks=texts, tolerance=TOLERANCE_PIXELS),
        encoding="utf-8",
    )
    return path
