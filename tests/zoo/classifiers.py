"""Classifiers of photographs: torchvision, timm, transformers. Nothing is downloaded, nothing is modified.

Images are smaller than usual where the constructor or the architecture allows it, and not square where they may be.
"""

import importlib
from functools import partial
from typing import Any

from zoo.entry import CLASSES, Architecture, Head, Tokens
from zoo.stubs import define_torchvision_operators

WIDE = (3, 128, 64)


def torchvision_model(name: str, **options: Any) -> Any:
    """A classifier of torchvision without trained weights."""
    define_torchvision_operators()
    return importlib.import_module("torchvision.models").get_model(name, weights=None, num_classes=CLASSES, **options)


def timm_model(name: str, **options: Any) -> Any:
    """A classifier of timm without trained weights."""
    define_torchvision_operators()
    return importlib.import_module("timm").create_model(name, pretrained=False, num_classes=CLASSES, **options)


def transformers_model(name: str, **options: Any) -> Any:
    """A classifier of transformers from its default configuration."""
    define_torchvision_operators()
    transformers = importlib.import_module("transformers")
    config = getattr(transformers, f"{name}Config")(num_labels=CLASSES, **options)
    return getattr(transformers, f"{name}ForImageClassification")(config)


def _torchvision(name: str, family: str, shape: tuple[int, ...] = WIDE, **known: Any) -> Architecture:
    options = known.pop("options", {})
    return Architecture(name, "torchvision", family, shape, partial(torchvision_model, name, **options), **known)


def _timm(name: str, family: str, shape: tuple[int, ...] = WIDE, **known: Any) -> Architecture:
    options = known.pop("options", {})
    return Architecture(name, "timm", family, shape, partial(timm_model, name, **options), **known)


def _transformers(name: str, family: str, shape: tuple[int, ...], **known: Any) -> Architecture:
    options = known.pop("options", {})
    return Architecture(name, "transformers", family, shape, partial(transformers_model, name, **options), **known)


TORCHVISION = (
    _torchvision("vgg16", "VGG", head=Head("avgpool"), note="pool of 7 x 7, then three linear layers"),
    _torchvision("resnet50", "ResNet", head=Head("layer4", "fc")),
    _torchvision("densenet121", "DenseNet", head=Head("features", "classifier", is_rectified=True)),
    _torchvision("mobilenet_v3_large", "MobileNet", head=Head("features"), note="a hidden layer behind the pool"),
    _torchvision("efficientnet_b0", "EfficientNet", head=Head("features", "classifier.1")),
    _torchvision("convnext_tiny", "ConvNeXt", head=Head("features"), note="a layer norm behind the pool"),
    _torchvision(
        "vit_b_16",
        "ViT",
        (3, 96, 96),
        options={"image_size": 96},
        head=Head("encoder.layers.encoder_layer_11.ln_1", channels_last=True),
        tokens=Tokens(1, (6, 6)),
    ),
    _torchvision("swin_t", "Swin", head=Head("norm", "head", channels_last=True)),
)

TIMM = (
    _timm("resnet50", "ResNet", head=Head("layer4", "fc")),
    _timm("densenet121", "DenseNet", head=Head("features", "classifier")),
    _timm("efficientnet_b0", "EfficientNet", head=Head("bn2", "classifier")),
    _timm("convnext_tiny", "ConvNeXt", head=Head("stages"), note="a layer norm behind the pool"),
    _timm(
        "vit_small_patch16_224",
        "ViT",
        (3, 112, 80),
        options={"img_size": (112, 80)},
        head=Head("blocks.11.norm1", channels_last=True),
        tokens=Tokens(1, (7, 5)),
    ),
    _timm(
        "vit_small_patch14_reg4_dinov2",
        "DINOv2",
        (3, 98, 70),
        options={"img_size": (98, 70)},
        head=Head("blocks.11.norm1", channels_last=True),
        tokens=Tokens(5, (7, 5)),
        note="four register tokens",
    ),
    _timm(
        "swin_tiny_patch4_window7_224",
        "Swin",
        WIDE,
        options={"img_size": WIDE[1:]},
        head=Head("norm", "head.fc", channels_last=True),
    ),
    _timm(
        "maxvit_tiny_tf_224",
        "MaxViT",
        WIDE,
        options={"img_size": WIDE[1:]},
        head=Head("stages"),
        note="a layer norm and a hidden layer behind the pool",
    ),
)

TRANSFORMERS = (
    _transformers(
        "ViT",
        "ViT",
        (3, 96, 64),
        options={"image_size": (96, 64)},
        head=Head("vit.layers.11.layernorm_before", channels_last=True),
        tokens=Tokens(1, (6, 4)),
        seed=2,
    ),
    _transformers(
        "DeiT",
        "ViT",
        (3, 96, 64),
        options={"image_size": (96, 64)},
        head=Head("deit.layers.11.layernorm_before", channels_last=True),
        tokens=Tokens(2, (6, 4)),
        note="class and distillation token",
    ),
    _transformers(
        "Dinov2",
        "DINOv2",
        (3, 98, 70),
        options={"image_size": 98},
        head=Head("dinov2.layernorm", channels_last=True),
        tokens=Tokens(1, (7, 5)),
        note="reads the class token and the mean of the others",
    ),
    _transformers(
        "Swin",
        "Swin",
        (3, 160, 96),
        options={"image_size": (160, 96), "window_size": 3},
        head=Head("swin.layernorm", "classifier", channels_last=True),
        tokens=Tokens(0, (5, 3)),
        note="windows of 3 x 3 for a small image",
    ),
    _transformers(
        "ConvNext", "ConvNeXt", WIDE, head=Head("convnext.encoder.stages.3"), note="a layer norm behind the pool"
    ),
)
