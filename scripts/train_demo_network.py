"""Train the demonstration network on phantoms, measure it on others, write weights and a record.

Usage: python scripts/train_demo_network.py --output DIR
Takes about ten minutes on two cores. To ship the result, give xai_med/demo as DIR.

Beside the usual loss there is one on place. With labels alone a similar network reached the same AUC, yet
the evidence for a nodule spread over every position that has it in view, since the average over positions
rewards that; an explanation could then miss the nodule and still be true to the network.
"""

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata
from torch.nn import functional

from xai_med.backend.tensors import Array
from xai_med.blueprints.blueprint import Blueprint
from xai_med.blueprints.weights import weights_of, with_weights
from xai_med.demo.network import FEATURES, WEIGHTS_FILE, architecture
from xai_med.demo.phantoms import FINDINGS, phantoms
from xai_med.io.weights import write_weights
from xai_med_torch.blueprint import build

CHUNK = 500  # phantoms per task of the process pool
FIRST_TRAINING_SEED = 1_000_000  # far from the small seeds that tests and tutorials take
TEST_SEED = 90_210
BATCH_SIZE = 64
CELLS = 16  # positions of the features along each side


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    blueprint = architecture(options.seed)
    first = FIRST_TRAINING_SEED + 1000 * options.seed
    drawn = draw(options.count, first, workers=options.threads)
    trained = train(blueprint, *drawn, epochs=options.epochs, seed=options.seed, place_weight=options.place_weight)
    areas = measure(trained, options.test_count)
    options.output.mkdir(parents=True, exist_ok=True)
    arrays = weights_of(trained)
    write_weights(options.output / WEIGHTS_FILE, arrays, overwrite=True)
    learned = {key: array for key, array in arrays.items() if "running_" not in key}
    record = {
        "seed": options.seed,
        "epochs": options.epochs,
        "training_phantoms": options.count,
        "place_weight": options.place_weight,
        "parameters": sum(array.size for array in learned.values()),
        "test": {"seed": TEST_SEED, "phantoms": options.test_count, "auc": areas},
        "torch": torch.__version__,
    }
    text = json.dumps(record, indent=2) + "\n"
    (options.output / WEIGHTS_FILE).with_suffix(".json").write_text(text, encoding="utf-8")
    print(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, required=True, help="folder for weights and record")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--count", type=int, default=6000, help="phantoms to train on")
    parser.add_argument("--place-weight", type=float, default=0.1, help="0 trains on labels alone")
    parser.add_argument("--test-count", type=int, default=2000, help="other phantoms to measure on")
    parser.add_argument("--threads", type=int, default=min(os.cpu_count() or 1, 8))
    return parser.parse_args()


def draw(count: int, first_seed: int, *, workers: int) -> tuple[Array, Array, Array]:
    """Images, labels and places of phantoms, chunk by chunk from consecutive seeds."""
    seeds = [first_seed + index for index in range(-(-count // CHUNK))]
    with ProcessPoolExecutor(workers) as pool:
        parts = list(pool.map(_chunk, seeds))
    images, labels, places = (np.concatenate(kind)[:count] for kind in zip(*parts, strict=True))
    return images, labels, places


def _chunk(seed: int) -> tuple[Array, Array, Array]:
    drawn = phantoms(CHUNK, seed=seed)
    size = drawn.masks.shape[-1] // CELLS
    coverage = drawn.masks.reshape(CHUNK, len(FINDINGS), CELLS, size, CELLS, size).mean(axis=(3, 5))
    places = coverage >= 0.5 * coverage.max(axis=(2, 3), keepdims=True)
    return drawn.images, drawn.labels, places & drawn.labels[:, :, None, None]


def train(
    blueprint: Blueprint,
    images: Array,
    labels: Array,
    places: Array,
    *,
    epochs: int,
    seed: int,
    place_weight: float,
) -> Blueprint:
    """Minimise the binary cross-entropy of the logits, and draw the largest evidence into the findings."""
    random = np.random.default_rng(seed)
    network = build(blueprint).train().to(memory_format=torch.channels_last)  # a third faster on CPUs
    seen: dict[str, torch.Tensor] = {}
    for name in (FEATURES, "head"):
        network.get_submodule(name).register_forward_hook(partial(_keep, seen, name))
    weight = network.get_parameter("head.weight")
    batches = len(images) // BATCH_SIZE
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=6e-3, total_steps=epochs * batches)
    for epoch in range(epochs):
        losses = []
        order = random.permutation(len(images))[: batches * BATCH_SIZE]
        for chosen in order.reshape(batches, BATCH_SIZE):
            network(_varied(torch.from_numpy(images[chosen]), random))
            wanted = torch.from_numpy(labels[chosen])
            name_loss = functional.binary_cross_entropy_with_logits(seen["head"], wanted.float())
            place_loss = _misplaced(seen[FEATURES], weight, torch.from_numpy(places[chosen]), wanted)
            optimiser.zero_grad()
            (name_loss + place_weight * place_loss).backward()
            optimiser.step()
            schedule.step()
            losses.append((name_loss.item(), place_loss.item()))
        print(f"epoch {epoch + 1}/{epochs}: loss of names and places {np.mean(losses, axis=0)}", flush=True)
    state = network.state_dict()
    return with_weights(blueprint, {key: state[key].contiguous().numpy() for key in weights_of(blueprint)})


def _keep(
    seen: dict[str, torch.Tensor], name: str, _module: torch.nn.Module, _inputs: object, output: torch.Tensor
) -> None:
    seen[name] = output


def _misplaced(
    features: torch.Tensor, weight: torch.Tensor, places: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """Mean over the findings present of -log P, P that a position drawn by softmax of CAM lies in it."""
    evidence = torch.einsum("nchw,kc->nkhw", features, weight)
    inside = evidence.masked_fill(~places, -torch.inf)[wanted].flatten(1)
    return (evidence[wanted].flatten(1).logsumexp(dim=1) - inside.logsumexp(dim=1)).mean()


def _varied(batch: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Change gain and offset of each image."""
    gain = torch.from_numpy(random.uniform(0.9, 1.1, (len(batch), 1, 1, 1)).astype(np.float32))
    offset = torch.from_numpy(random.uniform(-0.03, 0.03, (len(batch), 1, 1, 1)).astype(np.float32))
    return batch * gain + offset


def measure(blueprint: Blueprint, count: int) -> dict[str, float]:
    """Area under the ROC curve of each finding, on phantoms that training has not seen."""
    drawn = phantoms(count, seed=TEST_SEED)
    network = build(blueprint)
    with torch.no_grad():
        parts = [network(torch.tensor(part)) for part in np.array_split(drawn.images, -(-count // 200))]
    scores = torch.cat(parts).double().numpy()
    return {
        name: round(area_under_curve(scores[:, index], drawn.labels[:, index]), 4)
        for index, name in enumerate(FINDINGS)
    }


def area_under_curve(scores: Array, is_present: Array) -> float:
    """Probability that a present case scores above an absent one (Mann & Whitney 1947)."""
    present, absent = int(is_present.sum()), int((~is_present).sum())
    rank_sum = float(rankdata(scores)[is_present].sum())
    return (rank_sum - present * (present + 1) / 2) / (present * absent)


if __name__ == "__main__":
    main()
