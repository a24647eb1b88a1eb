"""Grad-CAM on transformers of other libraries, small and with random weights, against a map made by hand with hooks."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import place_sum
import pytest
from zoo.stubs import define_torchvision_operators

from xai_med import explain

torch = pytest.importorskip("torch")

CLASSES = 4
SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
TIMM = {"depth": 2, "embed_dim": 24, "num_heads": 2}


@dataclass(frozen=True)
class Case:
    """One model and what a person knows of it.

    Parameters
    ----------
    library : str
        To import.
    build : callable
        Makes the model from the imported library.
    shape : tuple of int
        (C, *space) of an image.
    layer : str
        The module whose output, by its documentation or source, holds the last tokens that count.
    grid : tuple of int
        Of the tokens that lie in the image.
    leading : int
        Class and register tokens before them.
    channels_first : bool
        Whether that module returns (N, C, *grid).
    """

    library: str
    build: Callable[[Any], Any]
    shape: tuple[int, ...]
    layer: str
    grid: tuple[int, ...]
    leading: int = 0
    channels_first: bool = False


def timm(name, library, **options):
    return library.create_model(name, num_classes=CLASSES, **options)


def huggingface(name, library, **options):
    config = getattr(library, f"{name}Config")(num_labels=CLASSES, **options)
    return getattr(library, f"{name}ForImageClassification")(config)


def vision_transformer(library):
    return library.models.VisionTransformer(64, 16, 2, 2, 24, 24, num_classes=CLASSES)


def swin(library):
    return library.models.SwinTransformer([4, 4], 24, [2, 2], [2, 2], [4, 4], num_classes=CLASSES)


def volume(kind, library):
    return library.networks.nets.ViT(
        1, (16, 32, 48), 16, hidden_size=24, mlp_dim=24, num_layers=2, num_heads=2, classification=True,
        num_classes=CLASSES, proj_type=kind, post_activation=None,
    )  # fmt: skip


def of_timm(name, shape, *known, **options):
    return Case("timm", partial(timm, name, img_size=shape[1:], **options), shape, *known)


def of_huggingface(name, shape, *known, **options):
    return Case("transformers", partial(huggingface, name, **options), shape, *known)


WIDE = (3, 64, 96)
WINDOWS = {"depths": (2, 2), "num_heads": (2, 2), "embed_dim": 24, "window_size": 4}
CASES = {
    "timm ViT": of_timm("vit_small_patch16_224", WIDE, "blocks.1.norm1", (4, 6), 1, **TIMM),
    "timm ViT, mean": of_timm("vit_small_patch16_224", WIDE, "blocks.1", (4, 6), 1, **TIMM, global_pool="avg"),
    "timm DeiT": of_timm("deit_tiny_distilled_patch16_224", WIDE, "blocks.1.norm1", (4, 6), 2, **TIMM),
    "timm DINOv2": of_timm("vit_small_patch14_reg4_dinov2", (3, 56, 84), "blocks.1.norm1", (4, 6), 5, **TIMM),
    "timm Swin": of_timm("swin_tiny_patch4_window7_224", WIDE, "norm", (8, 12), **WINDOWS),
    "timm MaxViT": of_timm("maxvit_rmlp_pico_rw_256", (3, 64, 64), "norm", (2, 2), 0, True),
    "timm CaiT": of_timm("cait_xxs24_224", WIDE, "blocks_token_only.1.norm1", (4, 6), 1, **TIMM),
    "torchvision ViT": Case(
        "torchvision", vision_transformer, (3, 64, 64), "encoder.layers.encoder_layer_1.ln_1", (4, 4), 1
    ),
    "torchvision Swin": Case("torchvision", swin, WIDE, "norm", (8, 12)),
    "transformers ViT": of_huggingface(
        "ViT", WIDE, "vit.layers.1.layernorm_before", (4, 6), 1, **SMALL, image_size=WIDE[1:]
    ),
    "transformers DeiT": of_huggingface(
        "DeiT", WIDE, "deit.layers.1.layernorm_before", (4, 6), 2, **SMALL, image_size=WIDE[1:]
    ),
    "transformers DINOv2": of_huggingface(
        "Dinov2",
        (3, 56, 84),
        "dinov2.layernorm",
        (4, 6),
        1,
        image_size=70,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=1,
        patch_size=14,
    ),
    "transformers Swin": of_huggingface("Swin", WIDE, "swin.layernorm", (8, 12), **WINDOWS, image_size=WIDE[1:]),
    "transformers ConvNeXt": of_huggingface(
        "ConvNext", WIDE, "convnext.encoder", (8, 12), 0, True, hidden_sizes=[8, 16], depths=[1, 1], num_stages=2
    ),
    "MONAI ViT": Case("monai", partial(volume, "conv"), (1, 16, 32, 48), "blocks.1.norm1", (1, 2, 3), 1),
    "MONAI ViT, patches by reshapes": Case(
        "monai", partial(volume, "perceptron"), (1, 16, 32, 48), "blocks.1.norm1", (1, 2, 3), 1
    ),
}


def model_of(case):
    """In float64, with weights that their library starts at zero drawn as well."""
    define_torchvision_operators()
    library = pytest.importorskip(case.library)
    if case.library == "monai":
        importlib.import_module("monai.networks.nets")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = case.build(library)
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
    return model.double().eval()


def logits_of(output):
    """Of whatever a library returns."""
    output = getattr(output, "logits", output)
    return output[0] if isinstance(output, tuple) else output


def by_hand(model, case, images):
    """Grad-CAM without ReLU of class 1 by a hook and PyTorch's own differentiation."""
    kept = []

    def keep(_, __, output):
        tensor = output if isinstance(output, torch.Tensor) else output[0]
        kept.append(tensor.detach().clone().requires_grad_())
        return kept[0] if isinstance(output, torch.Tensor) else type(output)(kept[0], *output[1:])

    handle = dict(model.named_modules())[case.layer].register_forward_hook(keep)
    try:
        score = logits_of(model(torch.tensor(images)))[0, 1]
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    features, gradient = (tensor.detach().numpy()[0] for tensor in (kept[0], gradient))
    if not case.channels_first:
        features, gradient = (
            np.moveaxis(array.reshape(-1, array.shape[-1])[case.leading :], 1, 0).reshape(-1, *case.grid)
            for array in (features, gradient)
        )
    return np.tensordot(gradient.reshape(len(gradient), -1).mean(1), features, 1)


@pytest.mark.parametrize("name", sorted(CASES))
def test_map_equals_one_made_by_hand(name):
    case = CASES[name]
    model = model_of(case)
    images = np.random.default_rng(0).normal(size=(1, *case.shape))
    choice = {"output": 0} if case.library == "monai" else {}
    found = explain(model, images, method="grad_cam", target=1, relu=False, **choice)
    expected = by_hand(model, case, images)
    assert expected.shape == case.grid
    np.testing.assert_allclose(found.attribution[0, 0], expected, rtol=0, atol=1e-9 * np.ptp(expected))


@pytest.mark.parametrize("name", ["timm ViT", "timm Swin", "transformers Swin", "MONAI ViT"])
def test_only_the_cell_of_a_patch_that_changes_is_another_behind_the_patch_embedding(name):
    case = CASES[name]
    layer = {"timm": "patch_embed", "transformers": "swin.embeddings.norm", "monai": "patch_embedding"}[case.library]
    model, generator = model_of(case), np.random.default_rng(1)
    images = generator.normal(size=(1, *case.shape))
    choice = {"output": 0} if case.library == "monai" else {}
    with place_sum.registered() as method:
        grid_of = partial(explain, model, method=method, target=1, layer=layer, **choice)
        before = grid_of(images).attribution[0, 0]
        for _ in range(3):
            place = tuple(int(generator.integers(size)) for size in before.shape)
            sizes = [size // cells for size, cells in zip(case.shape[1:], before.shape, strict=True)]
            window = tuple(slice(at * size, (at + 1) * size) for at, size in zip(place, sizes, strict=True))
            changed = images.copy()
            changed[(0, slice(None), *window)] = generator.normal(size=(case.shape[0], *sizes))
            change = grid_of(changed).attribution[0, 0] - before
            assert np.argwhere(change).tolist() == [list(place)]
