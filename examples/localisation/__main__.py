"""Judge all methods by where findings are: ``python -m examples.localisation --help``."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from examples.localisation.cases import Case, phantom_cases, real_cases
from examples.localisation.judge import judged
from xai_med import explain
from xai_med.backend.tensors import Array
from xai_med.metrics import Estimate

METHODS = ("cam", "grad_cam", "gradient", "lrp", "clear")
CHUNK = 40


def main(arguments: Sequence[str] | None = None) -> None:
    """Explain, judge, print tables and write the numbers."""
    asked = _asked(arguments)
    cases = phantom_cases(asked.phantoms) if asked.data is None else real_cases(asked.data)
    found = {case.title: run(case, asked.framework) for case in tqdm(cases, unit="case", leave=False)}
    for case in cases:
        print(f"\n{case.title}, {len(case.images)} images ({asked.framework}); {case.note}")
        print(table(found[case.title]))
    if asked.output:
        written = {
            title: {row: {name: asdict(value) for name, value in of_row.items()} for row, of_row in rows.items()}
            for title, rows in found.items()
        }
        asked.output.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


def run(case: Case, framework: str, methods: Sequence[str] = METHODS) -> dict[str, Mapping[str, Estimate]]:
    """Each method, and what maps get that know nothing of the image."""
    model = case.build(framework)
    rows = {
        method: judged(maps_of(model, case, method), case.masks, tolerance_px=case.tolerance_px) for method in methods
    }
    rows["the middle"] = judged(_middle(case.masks.shape), case.masks, tolerance_px=case.tolerance_px)
    noise = np.random.default_rng(0).random(case.masks.shape)
    rows["noise"] = judged(noise, case.masks, tolerance_px=case.tolerance_px)
    return rows


def maps_of(model: Any, case: Case, method: str) -> Array:
    """One map per image, (N, H, W)."""
    parts = [
        explain(model, case.images[start : start + CHUNK], method=method, target=case.target, keep_input=False).maps
        for start in range(0, len(case.images), CHUNK)
    ]
    maps: Array = np.concatenate(parts)[:, 0]
    return maps


def table(rows: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Means with 95 % intervals, a metric a line."""
    lines = [["", *rows]]
    for title in next(iter(rows.values())):
        cells = [found[title] for found in rows.values()]
        lines.append([title, *(f"{each.mean:.2f} {each.low:.2f}-{each.high:.2f}" for each in cells)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _middle(shape: Sequence[int]) -> Array:
    """A map that is strongest in the middle of every image."""
    axes = [np.abs(np.arange(size) - (size - 1) / 2) / size for size in shape[1:]]
    near: Array = -np.hypot(axes[0][:, None], axes[1][None]) + 1.0
    return np.broadcast_to(near, tuple(shape))


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.localisation", description=__doc__)
    parser.add_argument("--framework", choices=("torch", "paddle"), default="torch")
    parser.add_argument("--data", type=Path, help="folder of real data (docs/examples.md); phantoms without it")
    parser.add_argument("--phantoms", type=int, default=200)
    parser.add_argument("--output", type=Path, help="JSON file for the numbers")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
