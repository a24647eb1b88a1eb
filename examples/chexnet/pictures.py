"""Explains radiographs and draws the montages."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from examples.chexnet.profiles import Profile, prepare
from xai_med import Explanation, explain
from xai_med._spreadsheet import literal
from xai_med.backend.tensors import Array
from xai_med.render import chexnet_montage, montage, overlay, to_bytes

SUFFIXES = (".png", ".jpg", ".jpeg")
STYLES = ("published", "honest")


def radiographs(folder: Path) -> list[Path]:
    """Pictures of a folder, by name."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise FileNotFoundError(f"there is no {', '.join(SUFFIXES)} file in {folder}")
    return found


def explained(network: Any, pixels: Array, names: Sequence[str]) -> tuple[Explanation, Array]:
    """Class activation maps of the first crop, and probabilities (K,) averaged over all crops, as published."""
    explanations = [explain(network, crop[None], method="cam", target="all", class_names=names) for crop in pixels]
    probabilities = np.stack([np.asarray(each.probabilities)[0] for each in explanations])
    return explanations[0], probabilities.mean(axis=0)


def draw(explanation: Explanation, probabilities: Array, shown: Array, style: str) -> Array:
    """A montage: the original and one tile per finding, uint8.

    The published style stretches each map to the full range of colours, so that a finding which the network denies
    looks as hot as one that it affirms. The honest style draws all findings on one signed scale.
    """
    captions = [
        f"{name}: {100 * value:.2f}%" for name, value in zip(explanation.targets[0], probabilities, strict=True)
    ]
    if style == "published":
        return chexnet_montage(shown, explanation.attribution[0], captions)
    image = shown.transpose(2, 0, 1).astype(np.float32) / 255
    largest = float(np.abs(explanation.maps[0]).max()) or 1.0
    tiles = [overlay(image, each, limits=(-largest, largest), signed=True) for each in explanation.maps[0]]
    drawn = montage([shown / 255.0, *tiles], ["Original", *captions])
    return to_bytes(drawn)


def montages(
    network: Any, paths: Sequence[Path], profile: Profile, names: Sequence[str], style: str
) -> Iterator[tuple[Path, Array, Array]]:
    """Path, montage and probabilities of each radiograph, one after the other."""
    for path in paths:
        prepared = prepare(path, profile)
        explanation, probabilities = explained(network, prepared.crops, names)
        yield path, draw(explanation, probabilities, prepared.shown, style), probabilities


def write_row(file: TextIO, name: str, cells: Sequence[str]) -> None:
    """One line of the table of probabilities; names are not ours, and must not run as formulas."""
    csv.writer(file, lineterminator="\n").writerow([literal(each) for each in (name, *cells)])
