"""Real architectures, unmodified: a fast selection of `scripts/compatibility.py`, and what its table must say."""

import re
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from zoo.classifiers import torchvision_model
from zoo.entry import Architecture, Head
from zoo.measure import METHODS, ORACLES, REFUSED, WORKS, asked, measured
from zoo.models import CATALOGUE, built, is_installed
from zoo.reference import Question

from xai_med import errors

TABLE = Path(__file__).resolve().parents[1] / "docs" / "compatibility.md"
SMALL = (64, 32)  # the last features are 2 x 1

# one of each family that is quick, and what must work for it; VGG, with its 130 million weights, is in the table only
FAMILIES = {
    "torchvision:resnet50": METHODS,
    "torchvision:densenet121": ("lrp",),
    "torchvision:efficientnet_b0": ("grad_cam", "lrp", "clear"),
    "torchvision:convnext_tiny": ("grad_cam", "lrp"),
    "torchvision:swin_t": ("cam", "grad_cam", "lrp"),
    "timm:vit_small_patch16_224": ("grad_cam", "gradient", "lrp"),
    "monai:UNet 3-D": ("grad_cam", "gradient"),
    "paddle:resnet18": METHODS,
    "paddle:mobilenet_v3_small": ("grad_cam", "lrp"),
}
REFUSALS = {
    "monai:UNet 3-D": ("cam", "lrp", "clear"),
    "paddle:mobilenet_v3_small": ("cam",),
}
SIGNED = {"grad_cam": {"relu": False}}
ADVICE = re.compile(r"\b(use|give|choose|name|wrap|return|ask for|put|explain|point to)\b")


def pairs(chosen):
    """(architecture, method) in an order that builds each model once."""
    return [pytest.param(key, method, id=f"{key}-{method}") for key, methods in chosen.items() for method in methods]


_last = {}


def question_about(key):
    """The question about one architecture; the last one is kept."""
    architecture = CATALOGUE[key]
    if not is_installed(architecture.library):
        pytest.skip(f"{architecture.library} is not installed")
    if key not in _last:
        _last.clear()
        if architecture.tokens is None and len(architecture.shape) == 3:
            architecture = replace(architecture, shape=(architecture.shape[0], *SMALL))
        _last[key] = Question(architecture, built(architecture), architecture.images())
    return _last[key]


@pytest.mark.parametrize(("key", "method"), pairs(FAMILIES))
def test_an_unmodified_architecture_is_explained_as_its_oracle_says(key, method):
    cell = measured(question_about(key), method)
    assert cell.status == WORKS, cell


@pytest.mark.parametrize(("key", "method"), pairs(REFUSALS))
def test_what_does_not_exist_for_an_architecture_is_refused_with_advice(key, method):
    cell = measured(question_about(key), method)
    assert cell.status == REFUSED, cell
    assert ADVICE.search(cell.message)


# ---- the oracles see faults


@cache
def residual_network():
    """A small network of torchvision and what the library says about it."""
    build = partial(torchvision_model, "resnet18")
    architecture = Architecture("resnet18", "torchvision", "ResNet", (3, 96, 64), build, head=Head("layer4", "fc"))
    question = Question(architecture, built(architecture), architecture.images())
    return question, {method: asked(question, method, dtype="float64", **SIGNED.get(method, {})) for method in METHODS}


FAULTS = {
    "classes swapped": lambda given: given[:, ::-1],
    "images swapped": lambda given: given[::-1],
    "height reversed": lambda given: given[..., ::-1, :],
    "width reversed": lambda given: given[..., ::-1],
    "positive part only": lambda given: np.maximum(given, 0),
    "one part in a thousand too large": lambda given: given * 1.001,
    "one cell lost": lambda given: np.where(np.abs(given) == np.abs(given).max(), 0, given),
    "sign lost": np.abs,
}


@pytest.mark.parametrize("method", METHODS)
def test_an_oracle_accepts_the_right_answer(method):
    pytest.importorskip("torch", reason="torch is not installed")
    question, answers = residual_network()
    assert ORACLES[method](question, answers[method]).holds


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("method", METHODS)
def test_an_oracle_sees_a_faulty_answer(method, fault):
    pytest.importorskip("torch", reason="torch is not installed")
    question, answers = residual_network()
    faulty = replace(answers[method], attribution=FAULTS[fault](answers[method].attribution))
    assert not ORACLES[method](question, faulty).holds


@pytest.mark.parametrize("layer", ["layer4.0", "layer4.1.bn2", "layer3"])
def test_the_oracle_of_grad_cam_sees_another_layer(layer):
    pytest.importorskip("torch", reason="torch is not installed")
    question, _ = residual_network()
    elsewhere = asked(question, "grad_cam", dtype="float64", layer=layer, **SIGNED["grad_cam"])
    assert not ORACLES["grad_cam"](question, elsewhere).holds


# ---- the table


def test_the_table_has_a_row_for_every_architecture():
    rows = [
        line.split("|")[1].strip()
        for line in TABLE.read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and "works" in line
    ]
    missing = [each.key for each in CATALOGUE.values() if not any(row.startswith(f"{each.name} (") for row in rows)]
    assert not missing


def test_the_table_holds_no_defect():
    cells = TABLE.read_text(encoding="utf-8").split("Versions:")[1]
    assert not re.findall(r"\*\*(WRONG|raw error|no oracle)\*\*", cells)


def test_every_refusal_in_the_table_is_named_and_says_what_to_do():
    page = TABLE.read_text(encoding="utf-8")
    words = dict(re.findall(r"^(\d+)\. (.+)$", page, flags=re.MULTILINE))
    refusals = [words[number] for number in set(re.findall(r"refused \((\d+)\)", page))]
    assert refusals
    for refusal in refusals:
        name, _, message = refusal.partition(": ")
        assert issubclass(getattr(errors, name), errors.XaiMedError)
        assert ADVICE.search(message), refusal
