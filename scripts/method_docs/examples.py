"""The one table of what methods are asked for their pages, and of the settings under which the kit is quick."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from xai_med.testing import example_input

SEED = 429
"""Of the phantom: a nodule in the upper lung on one side, an effusion on the other, and nothing else."""

FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "class activation maps": (
            "ablation_cam cam eigen_cam eigen_grad_cam grad_cam grad_cam_plus_plus hires_cam layer_cam recipro_cam "
            "score_cam seg_grad_cam xgrad_cam"
        ).split(),
        "gradients": (
            "expected_gradients gradient input_x_gradient integrated_gradients smooth_grad deconvnet guided_backprop "
            "guided_grad_cam"
        ).split(),
        "relevance": "excitation_backprop lrp".split(),
        "answers to changed images": "kernel_shap lime occlusion rise".split(),
        "attention": "attention_gradient attention_rollout".split(),
        "comparison of classes": "clear".split(),
    }
)

FINE = ("gradients", "relevance")
"""Families whose maps differ from pixel to pixel."""


@dataclass(frozen=True)
class Example:
    """How a method is called on its page.

    Parameters
    ----------
    settings : mapping of str to str
        As they are written.
    target : str
        As it is written.
    imports : tuple of str
        Beside those of every page.
    before : str
        Lines after the phantom was drawn.
    model : str
        Expression, or lines that set `model`.
    names : bool
        Whether the outputs are the demonstration network's findings.
    note : str
        What to know about the picture.
    no_picture : str
        Why there is none.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    target: str = 'Classes("nodule", "effusion")'
    imports: tuple[str, ...] = ()
    before: str = ""
    model: str = 'model = get_backend("torch").build(demo_blueprint())'
    names: bool = True
    note: str = ""
    no_picture: str = ""


_DENSE = """\
whole = demo_blueprint()  # its head at every place of the features, instead of behind their mean
head = next(step for step in whole.steps if step.name == "head")
weights = {"weight": head.arrays["weight"][:, :, None, None], "bias": head.arrays["bias"]}
steps = (*whole.steps[:-4], Step("places", "convolution", ("features",), weights))
model = get_backend("torch").build(Blueprint("places", whole.input_shape, steps))
nodule = chest.masks[0, 0].reshape(16, 8, 16, 8).any(axis=(1, 3))  # its cells in the output of 16 x 16"""

_TRANSFORMER = Example(
    target="0",
    imports=("import torch", "from torch import nn"),
    model="""\


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 16, stride=16)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True) for _ in range(2)
        )
        self.head = nn.Linear(16, 4)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.head(tokens.mean(1))


torch.manual_seed(0)
model = Transformer()  # its weights are random""",
    names=False,
    no_picture="There is no picture: the demonstration network has no attention, and the map of a transformer that "
    "was not trained would look like an explanation without being one.",
)

_WHATEVER = "The map of the effusion is brightest at the rim of the nodule: the method hardly depends on the finding."
_PARTS = "Parts are coloured as a whole: their outlines are those of superpixels, and of no finding. "
_BLACK = "Black, the default baseline, is air on a radiograph. "

EXAMPLES: Mapping[str, Example] = MappingProxyType(
    {
        "attention_gradient": _TRANSFORMER,
        "attention_rollout": _TRANSFORMER,
        "clear": Example(
            settings={"calibrate": '"per_class_max"'},
            note="Each place has the colour of the finding that it speaks for most.",
        ),
        "deconvnet": Example(note=_WHATEVER),
        "eigen_cam": Example(note="Both maps are the same: the method knows no class."),
        "expected_gradients": Example(
            settings={"references": "references", "samples": "60"},
            before="references = phantoms(20, seed=1).images",
            note="The references are twenty other phantoms. 60 samples instead of 200 keep the page quick.",
        ),
        "guided_backprop": Example(note=_WHATEVER),
        "integrated_gradients": Example(settings={"tolerance": "0.05"}, note=_BLACK.strip()),
        "kernel_shap": Example(
            settings={"samples": "256"}, note=_BLACK + _PARTS + "256 coalitions instead of 2,048 keep the page quick."
        ),
        "lime": Example(settings={"samples": "300"}, note=_PARTS + "300 samples instead of 1,000 keep the page quick."),
        "occlusion": Example(note=_BLACK + "Blue is where a black patch raises the score."),
        "rise": Example(
            settings={"masks": "400", "cells": "10"},
            note=_BLACK + "400 masks instead of 4,000 keep the page quick and leave the blotches of chance.",
        ),
        "score_cam": Example(
            settings={"baseline": '"mean"'},
            note="The baseline is the image's mean: with black, the default, which is air on a radiograph, the map of "
            "the nodule is brightest at the other shoulder. The map of the effusion marks the nodule too.",
        ),
        "seg_grad_cam": Example(
            settings={"layer": '"features"'},
            imports=("from xai_med.blueprints.blueprint import Blueprint, Step",),
            target='Mask("nodule", nodule)',
            model=_DENSE,
            note="The mask is where the nodule is; the demonstration network was made dense for it.",
        ),
        "smooth_grad": Example(
            settings={"samples": "25", "noise": "0.05"},
            note="Noise of a twentieth of the range; three times as much, the default, hides so faint a nodule. "
            "25 samples instead of 50 keep the page quick.",
        ),
    }
)
"""By method; any other is called without settings."""


def _references(blueprint: Any) -> Mapping[str, Any]:
    return {"references": example_input(blueprint, 3, 4).astype(np.float64), "samples": 5}


KIT_SETTINGS: Mapping[str, Mapping[str, Any] | Callable[[Any], Mapping[str, Any]]] = MappingProxyType(
    {
        "expected_gradients": _references,
        "integrated_gradients": {"steps": 5, "tolerance": 0.3},
        "kernel_shap": {"parts": "tiles", "count": 6, "samples": 64},
        "lime": {"parts": "tiles", "count": 6, "samples": 64},
        "occlusion": {"patch": 3},
        "rise": {"masks": 20, "cells": 3},
        "smooth_grad": {"samples": 3},
    }
)
"""What `check_method` is given; any other method gets nothing."""

OUTSIDE_OF_THE_KIT: Mapping[str, str] = MappingProxyType(
    {
        "attention_gradient": "no network of the kit has attention; tested on others",
        "attention_rollout": "no network of the kit has attention; tested on others",
        "seg_grad_cam": "no network of the kit has a dense output; tested on others",
    }
)
"""Methods for which the kit has no network."""


def example_of(name: str) -> Example:
    """How a method is called on its page."""
    return EXAMPLES.get(name, Example())


def family_of(name: str) -> str:
    """The family of a method."""
    found = [family for family, members in FAMILIES.items() if name in members]
    if len(found) != 1:
        raise ValueError(f"{name} belongs to one family of FAMILIES in {__file__}, found {found}")
    return found[0]


def drawing_of(name: str) -> Mapping[str, Any]:
    """Settings of the figure: single pixels are only seen where colours hide the image."""
    return {"opacity": 0.8} if family_of(name) in FINE else {}


def code_of(name: str) -> str:
    """The lines of the page's example; they define ``explanation``."""
    example = example_of(name)
    target = example.target.split("(")[0]
    public = ", ".join(sorted({"explain", *([target] if "(" in example.target else [])}))
    imports = [
        f"from xai_med import {public}",
        *(["from xai_med.demo.network import demo_blueprint"] if "demo_blueprint" in example.model else []),
        "from xai_med.demo.phantoms import phantoms",
        *(["from xai_med.registry import get_backend"] if "get_backend" in example.model else []),
        *example.imports,
    ]
    settings = {"target": example.target, **({"class_names": "chest.names"} if example.names else {})}
    settings = {"method": f'"{name}"', **settings, **example.settings}
    call = f"explanation = explain(model, chest.images, {', '.join(f'{k}={v}' for k, v in settings.items())})"
    if len(call) > 120:
        call = "\n".join(["explanation = explain(", "    model,", "    chest.images,", *_lines(settings), ")"])
    before = [example.before] if example.before else []
    groups = [[line for line in imports if _module(line)[0] is ours] for ours in (False, True)]
    lines = ["\n\n".join("\n".join(sorted(group, key=_module)) for group in groups if group), ""]
    return "\n".join([*lines, f"chest = phantoms(1, seed={SEED}, prevalence=0.4)", *before, example.model, call])


def _lines(settings: Mapping[str, str]) -> list[str]:
    return [f"    {key}={value}," for key, value in settings.items()]


def _module(line: str) -> tuple[bool, bool, str]:
    """Other packages before this one, and whole modules before names of them."""
    kind, module = line.split()[:2]
    return module.split(".")[0] == "xai_med", kind == "from", module
