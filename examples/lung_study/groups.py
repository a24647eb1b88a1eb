"""The two groups of radiographs that are compared: phantoms, or the forty with lung masks."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from examples.real import images, models
from xai_med import Classes, Contrast
from xai_med.backend.tensors import Array
from xai_med.demo.network import demo_blueprint
from xai_med.demo.phantoms import FINDINGS, phantoms
from xai_med.regions import Regions, from_masks
from xai_med.registry import get_backend


@dataclass(frozen=True)
class Study:
    """What is compared.

    Parameters
    ----------
    title : str
    build : callable
        From a framework's name to the model.
    images : ndarray of shape (N, C, H, W), float32
    labels : tuple of str
        Group of each image.
    patients : tuple of str
        Whose image it is.
    regions : tuple of Regions
        Of each image: the lungs, and elsewhere.
    target : Target
        The same for all images: where the explained class differs between groups, so do its maps.
    """

    title: str
    build: Callable[[str], Any]
    images: Array
    labels: tuple[str, ...]
    patients: tuple[str, ...]
    regions: tuple[Regions, ...]
    target: Any


def phantom_study(count: int = 120) -> Study:
    """Phantoms without any finding against those with a consolidation and nothing else."""
    drawn = phantoms(4 * count, seed=41, prevalence=0.25)
    place = FINDINGS.index("consolidation")
    is_alone = drawn.labels.sum(axis=1) == drawn.labels[:, place]
    chosen = np.flatnonzero(is_alone)[:count]
    return Study(
        "phantoms: logit of consolidation",
        lambda framework: get_backend(framework).build(demo_blueprint()),
        drawn.images[chosen],
        tuple("consolidation" if drawn.labels[number, place] else "normal" for number in chosen),
        tuple(str(number) for number in chosen),
        tuple(_regions(drawn.lungs[number]) for number in chosen),
        Classes(place),
    )


def radiograph_study(data: Path) -> Study:
    """Twenty normal radiographs of children against twenty with pneumonia, with lung masks drawn by people."""
    pixels, labels, lungs = images.chest_x_rays(data)
    return Study(
        "radiographs: logit of pneumonia minus logit of normal",
        lambda framework: get_backend(framework).build(models.pneumonia_resnet128(data)),
        pixels,
        tuple("pneumonia" if label else "normal" for label in labels),
        tuple(patient_of(name) for name in images.chest_x_ray_files(data)),
        tuple(_regions(mask >= 0.5) for mask in lungs),
        Contrast(1, 0),
    )


def patient_of(name: str) -> str:
    """Whose radiograph a file of the Kermany data is: ``person10_bacteria_43``, ``NORMAL2-IM-0249-0001``."""
    stem = Path(name).stem
    found = re.match(r"(person\d+)_|((?:NORMAL2-)?IM-\d+)-", stem)
    return found.group(1) or found.group(2) if found else stem


def _regions(lungs: Array) -> Regions:
    return from_masks({"lungs": lungs}).with_rest()
