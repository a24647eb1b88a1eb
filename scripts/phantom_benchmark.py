"""Which method shows what a model really uses: phantoms whose findings can be taken away again.

Usage: python scripts/phantom_benchmark.py [--quick] [--write]
Takes about fifteen minutes on two cores; --write puts the tables into docs/phantoms.md.

Two networks are trained on the same patients. One saw a bright tag whenever there was a consolidation, and could learn
the tag; the other saw the tag by chance. What each really uses is measured without any explanation: by drawing the same
patient once more without the tag, and once more without the consolidation.
"""

import argparse
import importlib.util
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from xai_med import explain
from xai_med.backend.tensors import Array
from xai_med.blueprints.blueprint import INPUT, Blueprint, Step
from xai_med.blueprints.weights import with_weights
from xai_med.demo.phantoms import FINDINGS, phantoms
from xai_med.errors import XaiMedError
from xai_med.methods.table import BUILT_IN
from xai_med.metrics import mean_with_interval
from xai_med.registry import get_backend

PAGE = Path(__file__).resolve().parents[1] / "docs" / "phantoms.md"
SIZE, TAG, FINDING = 64, 7, FINDINGS.index("consolidation")
CHANNELS = (1, 16, 32, 48)
NEARBY = 4
"""Pixels around tag and finding that count as theirs: half of a cell of the network's features, and their edges."""
TRAINING_SEED, TEST_SEED = 71, 72
FRAMEWORKS = tuple(name for name in ("torch", "paddle") if importlib.util.find_spec(name) is not None)
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "expected_gradients": {"samples": 60},
    "kernel_shap": {"parts": "tiles", "count": 64, "samples": 600},
    "lime": {"parts": "tiles", "count": 64, "samples": 600, "baseline": 0.3},
    "occlusion": {"patch": 8, "stride": 4, "baseline": 0.3},
    "rise": {"masks": 600, "cells": 8},
    "smooth_grad": {"samples": 20},
}


@dataclass(frozen=True, eq=False)
class Cases:
    """Patients with tag and consolidation, and the same without the one and without the other."""

    images: Array
    without_tag: Array
    without_finding: Array
    tag: Array
    masks: Array


@dataclass(frozen=True, eq=False)
class Row:
    """One method on one network."""

    method: str
    shares: Array
    seconds: float
    difference: float


def tagged(images: Array, which: Array) -> Array:
    """Draw the tag into some images."""
    drawn = np.array(images)
    drawn[which, :, -TAG - 2 : -2, 2 : TAG + 2] = 1.0
    return drawn


def cases(count: int) -> Cases:
    """Draw patients three times."""
    everyone = np.ones(count, dtype=bool)
    present = np.random.default_rng(TEST_SEED).random((count, len(FINDINGS))) < 0.2
    present[:, FINDING] = True
    absent = present.copy()
    absent[:, FINDING] = False
    ill = phantoms(count, seed=TEST_SEED, size=SIZE, present=present)
    well = phantoms(count, seed=TEST_SEED, size=SIZE, present=absent)
    tag = tagged(np.zeros((1, 1, SIZE, SIZE), np.float32), np.ones(1, dtype=bool))[0, 0] > 0
    return Cases(tagged(ill.images, everyone), ill.images, tagged(well.images, everyone), tag, ill.masks[:, FINDING])


def architecture(seed: int) -> Blueprint:
    """Three stages, a global average pool and one logit."""
    random, steps, source = np.random.default_rng(seed), [], INPUT
    for stage, (before, after) in enumerate(pairwise(CHANNELS)):
        weight = random.normal(0, np.sqrt(2 / (9 * before)), (after, before, 3, 3)).astype(np.float32)
        norm = {"weight": np.ones(after), "bias": np.zeros(after)}
        norm |= {"running_mean": np.zeros(after), "running_var": np.ones(after)}
        steps += [
            Step(f"conv{stage}", "convolution", (source,), {"weight": weight}, {"padding": 1}),
            Step(f"norm{stage}", "batch_norm", (f"conv{stage}",), {k: v.astype(np.float32) for k, v in norm.items()}),
            Step(f"relu{stage}", "relu", (f"norm{stage}",)),
        ]
        source = f"relu{stage}"
        if stage < len(CHANNELS) - 2:
            steps.append(Step(f"pool{stage}", "max_pool", (source,), options={"kernel": 2}))
            source = f"pool{stage}"
    head = random.normal(0, np.sqrt(1 / CHANNELS[-1]), (1, CHANNELS[-1])).astype(np.float32)
    steps += [
        Step("average", "global_average_pool", (source,)),
        Step("flat", "flatten", ("average",)),
        Step("head", "linear", ("flat",), {"weight": head, "bias": np.zeros(1, np.float32)}),
    ]
    return Blueprint("tagged_phantoms", (1, SIZE, SIZE), tuple(steps))


def trained(agreement: float, *, count: int, epochs: int) -> Blueprint:
    """Train on patients whose tag agrees with the label so often."""
    import torch
    from torch.nn import functional

    torch.manual_seed(TRAINING_SEED)
    random = np.random.default_rng(TRAINING_SEED)
    drawn = phantoms(count, seed=TRAINING_SEED, prevalence=0.5, size=SIZE)
    labels = drawn.labels[:, FINDING]
    images = tagged(drawn.images, np.where(random.random(count) < agreement, labels, ~labels))
    blueprint = architecture(TRAINING_SEED)
    model = get_backend("torch").build(blueprint)
    model.train()
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for chosen in np.array_split(random.permutation(count), count // 32):
            logits = model(torch.tensor(images[chosen]))[:, 0]
            wanted = torch.tensor(labels[chosen].astype(np.float32))
            optimiser.zero_grad()
            functional.binary_cross_entropy_with_logits(logits, wanted).backward()
            optimiser.step()
    model.eval()
    arrays = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    return with_weights(blueprint, {name: array for name, array in arrays.items() if "num_batches" not in name})


def used(model: Any, drawn: Cases) -> Array:
    """Share of the tag in what tag and consolidation add to the logit, patient by patient."""
    whole, no_tag, no_finding = (
        explain(model, images, method="cam", target="positive").scores[:, 0]
        for images in (drawn.images, drawn.without_tag, drawn.without_finding)
    )
    tag, finding = np.maximum(whole - no_tag, 0), np.maximum(whole - no_finding, 0)
    return np.asarray(tag / np.maximum(tag + finding, 1e-9))


def shown(maps: Array, drawn: Cases) -> Array:
    """Share of the tag in the positive map that lies on tag and consolidation."""
    cross = ndimage.generate_binary_structure(2, 2)
    tag = ndimage.binary_dilation(drawn.tag, cross, iterations=NEARBY)
    positive, shares = np.maximum(maps, 0), []
    for one, mask in zip(positive, drawn.masks, strict=True):
        finding = ndimage.binary_dilation(mask, cross, iterations=NEARBY) & ~tag
        on_tag, on_finding = one[tag].sum(), one[finding].sum()
        shares.append(on_tag / (on_tag + on_finding) if on_tag + on_finding > 0 else np.nan)
    return np.array(shares)


def measured(blueprint: Blueprint, drawn: Cases) -> list[Row]:
    """Every method that explains this network, in every framework."""
    models = {name: get_backend(name).build(blueprint) for name in FRAMEWORKS}
    references = phantoms(20, seed=TRAINING_SEED + 1, size=SIZE).images
    rows = []
    for method in BUILT_IN:
        settings = dict(SETTINGS.get(method, {}))
        if method == "expected_gradients":
            settings["references"] = references
        try:
            start = time.perf_counter()
            found = {
                name: explain(model, drawn.images, method=method, target="positive", keep_input=False, **settings).maps
                for name, model in models.items()
            }
        except XaiMedError as error:
            print(f"  {method}: {error}")
            continue
        seconds = (time.perf_counter() - start) / len(found) / len(drawn.images)
        first, *others = (maps[:, 0] for maps in found.values())
        apart = max((float(np.abs(first - other).max() / np.ptp(first)) for other in others), default=np.nan)
        rows.append(Row(method, shown(first, drawn), seconds, apart))
        print(f"  {method}: {seconds:.3f} s an image, frameworks differ by {apart:.2g}")
    return rows


def table(rows: list[Row], truth: Array) -> str:
    """One line per method, the nearest to the truth first."""
    lines = ["| method | share on the tag | distance from the truth | right side | s per image | torch to paddle |"]
    lines.append("|---|---|---|---|---|---|")
    errors = {row.method: float(np.nanmean(np.abs(row.shares - truth))) for row in rows}
    for row in sorted(rows, key=lambda row: errors[row.method]):
        away = mean_with_interval(np.abs(row.shares - truth))
        side = np.nanmean((row.shares > 0.5) == (truth > 0.5))
        lines.append(
            f"| `{row.method}` | {np.nanmean(row.shares):.2f} | {away.mean:.2f} ({away.low:.2f} to {away.high:.2f}) | "
            f"{100 * side:.0f} % | {row.seconds:.3f} | {row.difference:.1g} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Train, measure, print; write with --write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few patients, one epoch: shows that it runs")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/phantoms.md")
    options = parser.parse_args()
    count, epochs, patients = (96, 1, 3) if options.quick else (1536, 8, 16)
    drawn = cases(patients)
    parts = []
    for name, agreement in (("the tag goes with the finding", 1.0), ("the tag comes by chance", 0.5)):
        print(f"training: {name}")
        blueprint = trained(agreement, count=count, epochs=epochs)
        truth = used(get_backend("torch").build(blueprint), drawn)
        rows = measured(blueprint, drawn)
        parts.append(
            f"### Trained where {name}\n\nOf what tag and consolidation add to the logit, the tag adds "
            f"{truth.mean():.2f} (from {truth.min():.2f} to {truth.max():.2f} over {len(truth)} patients).\n\n"
            f"{table(rows, truth)}"
        )
    text = "\n\n".join(parts)
    print(text)
    if options.write:
        start, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- tables -->")
        _, _, end = rest.partition("<!-- end of tables -->")
        PAGE.write_text(f"{start}<!-- tables -->\n\n{text}\n\n<!-- end of tables -->{end}", encoding="utf-8")


if __name__ == "__main__":
    main()
