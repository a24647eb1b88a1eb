"""Trains in either framework."""

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from examples.clear.network import Plan
from xai_med.backend.tensors import Array

FRAMEWORKS = ("torch", "paddle")


@dataclass(frozen=True)
class Labelled:
    """Images and their classes.

    Parameters
    ----------
    images : ndarray of shape (N, C, H, W), float32
    labels : ndarray of shape (N,), int64
    """

    images: Array
    labels: Array


def trained(data: Labelled, classes: int, framework: str, plan: Plan) -> Any:
    """A network in evaluation mode."""
    steps = len(plan.batches(len(data.images)))
    network = None
    with tqdm(total=steps, desc=f"training in {framework}", leave=False) as bar:
        for loss, current in _module(framework).train(data.images, data.labels, classes, plan):
            network = current
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
    if network is None:
        raise ValueError("there is nothing to train on; give images, and at least one epoch")
    network.eval()
    return network


def predicted(network: Any, images: Array, framework: str) -> Array:
    """Class of each image, (N,)."""
    found: Array = np.asarray(_module(framework).logits(network, images)).argmax(axis=1)
    return found


def _module(framework: str) -> Any:
    return importlib.import_module(f"examples.clear.{framework}_training")
