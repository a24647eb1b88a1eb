"""Digits, and the paper's experiment: what is left of the accuracy with and without the places that CLEAR names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from examples.clear.training import Labelled, predicted
from xai_med import explain
from xai_med.backend.tensors import Array
from xai_med.maps.resize import resize

SIDE = 28
STRONG = 0.2
"""A pixel is a strong feature where the response of the true class is above this share of its largest.

The paper does not state its threshold; this is ours."""

PUBLISHED: Mapping[str, float] = {
    "full image": 0.9926,
    "strong features only": 0.7989,
    "without strong features": 0.4345,
}
"""Kumar et al. 2017, table 1, MNIST."""

_CHUNK = 250


def mnist(path: Path) -> tuple[Labelled, Labelled]:
    """Training and test images of an ``.npz`` with ``x_train``, ``y_train``, ``x_test`` and ``y_test``."""
    with np.load(path) as archive:
        parts = [
            Labelled((archive[f"x_{part}"][:, None] / 255).astype(np.float32), archive[f"y_{part}"].astype(np.int64))
            for part in ("train", "test")
        ]
    return parts[0], parts[1]


def small_digits() -> tuple[Labelled, Labelled]:
    """The 1,797 digits of 8 x 8 pixels that come with scikit-learn, enlarged: for a try without any file."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = resize(found.images[:, None] / 16, (SIDE, SIDE)).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    labels = found.target.astype(np.int64)
    return tuple(Labelled(images[part], labels[part]) for part in (order[:1300], order[1300:]))  # type: ignore[return-value]


@dataclass(frozen=True)
class Experiment:
    """What the network makes of whole and of reduced images.

    Parameters
    ----------
    accuracies : mapping of str to float
        Of `PUBLISHED`'s rows, and of a control: without as many other pixels of the digit, drawn at random.
    kept : float
        Mean share of the ink that the strong features hold.
    is_right : ndarray of shape (N,), bool
        Of the whole images.
    """

    accuracies: Mapping[str, float]
    kept: float
    is_right: Array


def experiment(network: Any, data: Labelled, framework: str, *, seed: int = 0) -> Experiment:
    """Classify the images, only their strong features, and the images without them; the background is 0."""
    strong = strong_features(network, data)
    ink = data.images > 0
    control = random_features(strong & ink, ink, seed=seed)
    variants = {
        "full image": data.images,
        "strong features only": np.where(strong, data.images, 0),
        "without strong features": np.where(strong, 0, data.images),
        "control: without as much other ink": np.where(control, 0, data.images),
    }
    right = {
        name: predicted(network, images.astype(np.float32), framework) == data.labels
        for name, images in variants.items()
    }
    kept = (data.images * strong).sum(axis=(1, 2, 3)) / data.images.sum(axis=(1, 2, 3))
    return Experiment(
        {name: float(each.mean()) for name, each in right.items()}, float(kept.mean()), right["full image"]
    )


def strong_features(network: Any, data: Labelled) -> Array:
    """Where the true class responds strongly, (N, 1, H, W), bool."""
    masks = []
    for start in range(0, len(data.images), _CHUNK):
        part = slice(start, start + _CHUNK)
        found = explain(network, data.images[part], method="clear", target="all", keep_input=False).maps
        response = found[np.arange(len(found)), data.labels[part]]
        masks.append(response > STRONG * response.max(axis=(1, 2), keepdims=True))
    return np.concatenate(masks)[:, None]


def random_features(like: Array, allowed: Array, *, seed: int) -> Array:
    """As many pixels of each image as `like` has, drawn from the rest of `allowed` first."""
    random = np.random.default_rng(seed)
    chosen = np.zeros_like(like)
    for number, (mask, ink) in enumerate(zip(like, allowed, strict=True)):
        weight = random.random(mask.shape) + 2 * (~ink) + (mask & ink)  # other ink first, then the same, never none
        order = np.argsort(weight, axis=None)[: int(mask.sum())]
        chosen[number].ravel()[order] = True
    return chosen & allowed


def table(found: Experiment) -> str:
    """Accuracies beside the published ones."""
    rows = [f"{'':38}{'here':>8}{'published':>12}"]
    for name, value in found.accuracies.items():
        published = f"{100 * PUBLISHED[name]:.2f} %" if name in PUBLISHED else ""
        rows.append(f"{name:38}{100 * value:6.2f} %{published:>12}")
    rows.append(f"strong: response of the true class above {STRONG:.0%} of its largest; {found.kept:.0%} of the ink")
    return "\n".join(rows)
