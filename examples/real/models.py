"""Trained models, stated once as blueprints, so that every framework builds the same."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xai_med.backend.tensors import Array
from xai_med.blueprints import INPUT, Blueprint, Step
from xai_med.io.weights import read_weights

FRAMEWORK_EPSILON = {"epsilon": 1e-5}


def statement(data: Path, name: str) -> Any:
    """What the JSON file beside a model's weights says."""
    return json.loads((data / "models" / f"{name}.json").read_text(encoding="utf-8"))


def pneumonia_vgg28(data: Path) -> Blueprint:
    """Chest radiographs, 28 x 28, of PneumoniaMNIST."""
    return _vgg(data, "pneumonia_vgg28", (1, 28, 28))


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


def haemorrhage_vgg64(data: Path) -> Blueprint:
    """Patches of fundus photographs, 64 x 64, in colour."""
    return _vgg(data, "haemorrhage_vgg64", (3, 64, 64))


def _vgg(data: Path, name: str, shape: tuple[int, int, int]) -> Blueprint:
    """Six convolutions with batch norm, two max pools, GAP and a linear head."""
    arrays = read_weights(data / "models" / f"{name}.safetensors")
    steps: list[Step] = []
    source = INPUT
    for at in (0, 3, 7, 10, 14, 17):
        steps += _convolution(arrays, f"features.{at}", f"features.{at + 1}", source, relu="in_place", padding=1)
        source = steps[-1].name
        if at in (3, 10):
            steps.append(Step(f"pool{at}", "max_pool", (source,), options={"kernel": 2}))
            source = steps[-1].name
    return Blueprint(name, shape, (*steps, *_head(arrays, "classifier", source)))


def _convolution(
    arrays: Mapping[str, Array], name: str, norm: str, source: str, *, relu: str | None = None, **options: int
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


def _basic_block(arrays: Mapping[str, Array], name: str, source: str, stride: int) -> list[Step]:
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


def _head(arrays: Mapping[str, Array], name: str, source: str) -> tuple[Step, ...]:
    head = {"weight": arrays[f"{name}.weight"], "bias": arrays[f"{name}.bias"]}
    return (
        Step("avgpool", "global_average_pool", (source,)),
        Step("flat", "flatten", ("avgpool",)),
        Step(name, "linear", ("flat",), head),
    )


def _layer(name: str) -> str:
    """Names of steps have no dots."""
    return name.replace(".", "_")
