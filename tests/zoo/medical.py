"""Models made for medical images: torchxrayvision, MONAI in two and three dimensions, segmentation networks."""

import importlib
from functools import partial
from typing import Any

from zoo.entry import Architecture, Head, Tokens
from zoo.stubs import define_torchvision_operators

SLICE = (1, 96, 64)
VOLUME = (1, 48, 32, 40)
RADIOGRAPH = (-1024.0, 1024.0)


def x_ray_densenet() -> Any:
    """The chest X-ray classifier of torchxrayvision with its 18 findings, without trained weights."""
    define_torchvision_operators()
    return importlib.import_module("torchxrayvision").models.DenseNet(weights=None, in_channels=1, num_classes=18)


def monai_model(name: str, **options: Any) -> Any:
    """A network of MONAI."""
    return getattr(importlib.import_module("monai.networks.nets"), name)(**options)


def segmentation_model(name: str) -> Any:
    """A network of segmentation_models_pytorch with its default encoder, without trained weights."""
    define_torchvision_operators()
    library = importlib.import_module("segmentation_models_pytorch")
    return getattr(library, name)(encoder_weights=None, in_channels=1, classes=3)


def _monai(name: str, family: str, shape: tuple[int, ...], of: str, **known: Any) -> Architecture:
    options = known.pop("options")
    return Architecture(name, "monai", family, shape, partial(monai_model, of, **options), **known)


def _densenet(space: int, shape: tuple[int, ...]) -> Architecture:
    options = {"spatial_dims": space, "in_channels": 1, "out_channels": 3}
    head = Head("class_layers.relu", "class_layers.out")
    return _monai(f"DenseNet121 {space}-D", "DenseNet", shape, "DenseNet121", options=options, head=head)


TORCHXRAYVISION = (
    Architecture(
        "DenseNet",
        "torchxrayvision",
        "DenseNet",
        SLICE,
        x_ray_densenet,
        head=Head("features", "classifier", is_rectified=True),
        span=RADIOGRAPH,
        note="18 outputs; values from -1024 to 1024",
    ),
)

MONAI = (
    _densenet(2, SLICE),
    _densenet(3, (1, 64, 32, 48)),
    _monai(
        "ResNet18 3-D",
        "ResNet",
        (1, 48, 32, 16),
        "resnet18",
        options={"spatial_dims": 3, "n_input_channels": 1, "num_classes": 3},
        head=Head("layer4", "fc"),
    ),
    _monai(
        "ViT 3-D",
        "ViT",
        VOLUME,
        "ViT",
        options={
            "in_channels": 1,
            "img_size": VOLUME[1:],
            "patch_size": (16, 16, 8),
            "classification": True,
            "num_classes": 3,
        },
        head=Head("blocks.11.norm1", channels_last=True),
        tokens=Tokens(1, (3, 2, 5)),
        output=0,
        note="returns a tuple: output=0",
    ),
    _monai(
        "UNet 3-D",
        "U-Net",
        VOLUME,
        "UNet",
        options={
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": 3,
            "channels": (16, 32, 64, 128),
            "strides": (2, 2, 2),
            "num_res_units": 2,
        },
        is_dense=True,
        layer="model.1.submodule.1",
        note='Grad-CAM with layer="model.1.submodule.1"',
    ),
    _monai(
        "SwinUNETR",
        "Swin",
        (1, 64, 32, 64),
        "SwinUNETR",
        options={"in_channels": 1, "out_channels": 3, "feature_size": 12},
        is_dense=True,
        layer="decoder3",
        note='Grad-CAM with layer="decoder3"',
    ),
)

SEGMENTATION = tuple(
    Architecture(
        name,
        "segmentation_models_pytorch",
        family,
        SLICE,
        partial(segmentation_model, name),
        is_dense=True,
        layer="encoder.layer4",
        note='Grad-CAM with layer="encoder.layer4"',
    )
    for name, family in (("Unet", "U-Net"), ("FPN", "FPN"), ("DeepLabV3Plus", "DeepLab"))
)
