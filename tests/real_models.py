"""Trained chest X-ray models, stated once as blueprints, and the real images that they were made for.

The folder that the functions take holds ``models`` and ``data`` as described in its own ``SOURCES.md``.
"""

import csv
import json
from pathlib import Path

import numpy as np

from xai_med.blueprints import INPUT, Blueprint, Step
from xai_med.io.weights import read_weights

FRAMEWORK_EPSILON = {"epsilon": 1e-5}


def statement(data: Path, name: str) -> dict:
    """What the JSON file beside a model's weights says."""
    return json.loads((data / "models" / f"{name}.json").read_text(encoding="utf-8"))


def pneumonia_vgg28(data: Path) -> Blueprint:
    """Six convolutions with batch norm, two max pools, GAP and a linear head; 28 x 28."""
    arrays = read_weights(data / "models" / "pneumonia_vgg28.safetensors")
    steps, source = [], INPUT
    for at in (0, 3, 7, 10, 14, 17):
        steps += _convolution(arrays, f"features.{at}", f"features.{at + 1}", source, relu="in_place", padding=1)
        source = steps[-1].name
        if at in (3, 10):
            steps.append(Step(f"pool{at}", "max_pool", (source,), options={"kernel": 2}))
            source = steps[-1].name
    return Blueprint("pneumonia_vgg28", (1, 28, 28), (*steps, *_head(arrays, "classifier", source)))


def pneumonia_resnet128(data: Path) -> Blueprint:
    """Residual network of four basic blocks; 128 x 128."""
    arrays = read_weights(data / "models" / "pneumonia_resnet128.safetensors")
    steps = _convolution(arrays, "conv1", "bn1", INPUT, relu="module", stride=2, padding=3)
    steps.append(Step("maxpool", "max_pool", (steps[-1].name,), options={"kernel": 3, "stride": 2, "padding": 1}))
    source = "maxpool"
    for layer, stride in ((1, 1), (2, 2), (3, 2), (4, 1)):
        steps += _basic_block(arrays, f"layer{layer}.0", source, stride)
        source = steps[-1].name
    return Blueprint("pneumonia_resnet128", (1, 128, 128), (*steps, *_head(arrays, "fc", source)))


def pneumonia_mnist(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Test split of PneumoniaMNIST: normalised images (624, 1, 28, 28), float32, and labels (624,)."""
    with np.load(data / "pneumoniamnist.npz") as archive:
        pixels, labels = archive["test_images"], archive["test_labels"][:, 0]
    return _normalised(pixels[:, None], statement(data, "pneumonia_vgg28")), labels.astype(int)


def chest_x_rays(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Forty radiographs at 128 x 128.

    Returns
    -------
    images : ndarray of shape (40, 1, 128, 128), float32
        Normalised as in training.
    labels : ndarray of shape (40,)
        0 normal, 1 pneumonia.
    lungs : ndarray of shape (40, 128, 128), float64
        Share of each pixel that lies in the lungs.
    """
    from PIL import Image

    with (data / "cxr" / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    pixels, lungs = [], []
    for row in rows:
        with Image.open(data / "cxr" / row["file"]) as image:
            pixels.append(np.asarray(image.convert("L").resize((128, 128), Image.Resampling.BOX)))
        with Image.open(data / "cxr" / row["lung_mask"]) as image:
            lungs.append(np.asarray(image.convert("F").resize((128, 128), Image.Resampling.BOX)) / 255.0)
    images = _normalised(np.stack(pixels)[:, None], statement(data, "pneumonia_resnet128"))
    return images, np.array([int(row["label"]) for row in rows]), np.stack(lungs)


def area_under_curve(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of pairs of a positive and a negative that the scores order rightly; ties count half."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    order = np.sign(positive[:, None] - negative[None])
    return float((order + 1).mean() / 2)


def share_inside(maps: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Share of each map's positive part that lies in the region, both (N, *space); NaN for a map without one."""
    positive = np.maximum(maps.astype(np.float64), 0)
    space = tuple(range(1, maps.ndim))
    total = positive.sum(axis=space)
    inside = (positive * region).sum(axis=space)
    return np.where(total > 0, inside / np.where(total > 0, total, 1), np.nan)


def _normalised(pixels: np.ndarray, stated: dict) -> np.ndarray:
    mean, deviation = stated["input"]["mean"][0], stated["input"]["std"][0]
    return ((pixels / 255.0 - mean) / deviation).astype(np.float32)


def _convolution(
    arrays: dict, name: str, norm: str, source: str, *, relu: str | None = None, **options: int
) -> list[Step]:
    layer, norm_layer = _layer(name), _layer(norm)
    statistics = {key: arrays[f"{norm}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")}
    steps = [
        Step(layer, "convolution", (source,), {"weight": arrays[f"{name}.weight"]}, options),
        Step(norm_layer, "batch_norm", (layer,), statistics, FRAMEWORK_EPSILON),
    ]
    if relu is not None:
        steps.append(Step(f"{layer}_relu", "relu", (norm_layer,), options={"style": relu}))
    return steps


def _basic_block(arrays: dict, name: str, source: str, stride: int) -> list[Step]:
    layer = _layer(name)
    steps = _convolution(arrays, f"{name}.conv1", f"{name}.bn1", source, relu="functional", stride=stride, padding=1)
    steps += _convolution(arrays, f"{name}.conv2", f"{name}.bn2", steps[-1].name, padding=1)
    body = steps[-1].name
    if f"{name}.downsample.0.weight" in arrays:
        steps += _convolution(arrays, f"{name}.downsample.0", f"{name}.downsample.1", source, stride=stride)
        source = steps[-1].name
    steps.append(Step(f"{layer}_sum", "add", (body, source)))
    steps.append(Step(layer, "relu", (f"{layer}_sum",)))
    return steps


def _head(arrays: dict, name: str, source: str) -> tuple[Step, ...]:
    head = {"weight": arrays[f"{name}.weight"], "bias": arrays[f"{name}.bias"]}
    return (
        Step("avgpool", "global_average_pool", (source,)),
        Step("flat", "flatten", ("avgpool",)),
        Step(name, "linear", ("flat",), head),
    )


def _layer(name: str) -> str:
    """Names of steps have no dots."""
    return name.replace(".", "_")
