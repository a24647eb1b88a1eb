"""What is judged: phantoms for everybody, real images for those who have the folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from examples.chexnet.__main__ import build
from examples.chexnet.layouts import recognise
from examples.real import images, models
from xai_med import Classes, Contrast
from xai_med.backend.tensors import Array
from xai_med.demo.network import demo_blueprint
from xai_med.demo.phantoms import FINDINGS, phantoms
from xai_med.io.weights import read_weights
from xai_med.registry import get_backend


@dataclass(frozen=True)
class Case:
    """Images with a finding, a model that should see it, and where it is.

    Parameters
    ----------
    title : str
    build : callable
        From a framework's name to its model.
    images : ndarray of shape (N, C, H, W), float32
    masks : ndarray of shape (N, H, W), bool
    target : Target
        What is explained.
    tolerance_px : float
        For the pointing game.
    note : str
        What a reader must know.
    """

    title: str
    build: Callable[[str], Any]
    images: Array
    masks: Array
    target: Any
    tolerance_px: float
    note: str


def phantom_cases(count: int = 200) -> list[Case]:
    """One case per finding of the demonstration's phantoms."""
    drawn = phantoms(count, seed=31)

    def model(framework: str) -> Any:
        return get_backend(framework).build(demo_blueprint())

    cases = []
    for place, finding in enumerate(FINDINGS):
        chosen = np.flatnonzero(drawn.labels[:, place])
        cases.append(
            Case(
                f"phantoms: {finding}", model, drawn.images[chosen], drawn.masks[chosen, place], Classes(place), 4.0,
                "the network was trained on places too, so that hits of cam are trained in",
            )
        )  # fmt: skip
    return cases


def real_cases(data: Path) -> list[Case]:
    """Fundus patches with haemorrhages, radiographs with boxes, radiographs with radiologists' masks."""
    return [_haemorrhages(data), _boxes(data), *_lesions(data)]


def _haemorrhages(data: Path) -> Case:
    pixels, labels, masks = images.haemorrhage_patches(data)
    chosen = labels == 1
    return Case(
        "fundus patches: haemorrhage", lambda framework: get_backend(framework).build(models.haemorrhage_vgg64(data)),
        pixels[chosen], masks[chosen], Contrast(1, 0), 4.0, "haemorrhage against none",
    )  # fmt: skip


def _boxes(data: Path) -> Case:
    name = "densenet121_kermany96"
    pixels, _, masks = images.boxed_radiographs(data, name, 96)
    weights = recognise(read_weights(data / "models" / f"{name}.safetensors"))
    return Case(
        "radiographs with boxes: pneumonia", lambda framework: build(weights, framework), pixels, masks, Classes(0),
        1.5, "trained on children's radiographs for pneumonia; one of the seven boxes is of a pneumonia",
    )  # fmt: skip


def _lesions(data: Path) -> list[Case]:
    name = "pneumonia_resnet128"
    pixels, masks = images.radiographs_with_masks(data, name, 128)
    wanted = {
        "opacities": ("ground_glass_opacities", "consolidation"),
        "lungs": ("left_lung", "right_lung"),
    }
    return [
        Case(
            f"radiographs with masks: {title}",
            lambda framework: get_backend(framework).build(models.pneumonia_resnet128(data)),
            pixels,
            np.stack([np.any([mask for key, mask in each.items() if key in regions], axis=0) for each in masks]),
            Contrast(1, 0),
            2.0,
            "trained on children's radiographs, three adults: too few for any conclusion",
        )
        for title, regions in wanted.items()
    ]
