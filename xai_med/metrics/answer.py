"""What a metric asks the model: one score for each image that it is handed, in batches that fit."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import DtypeError, NonFiniteError, ShapeError
from xai_med.maps.finite import finite_floats
from xai_med.metrics.settings import whole_number

Answer: TypeAlias = Callable[[Array], Array]
"""Scores (M,) float64 of images (M, C, *space): the model and the explained target behind one function.

It is called several times with different M, must judge each image by itself, and gives the same image the same score.
"""


def ask(answer: Answer, images: Iterable[Array], *, batch_size: int = 32) -> Array:
    """Score images one batch after the other.

    Parameters
    ----------
    answer : Answer
    images : iterable of ndarrays of shape (C, *space)
        Made as they are needed: no more than one batch is held at a time.
    batch_size : int
        Most images in one call.

    Returns
    -------
    ndarray of shape (M,), float64

    Raises
    ------
    ShapeError
        The answer is not one number per image.
    DtypeError
        The answer is no array of real numbers.
    NonFiniteError
        A score is NaN or infinite.
    """
    most = whole_number(batch_size, "batch_size", least=1)
    scores: list[Array] = []
    for batch in _batches(iter(images), most):
        scores.append(_checked(answer(batch), len(batch), sum(map(len, scores))))
    return np.concatenate(scores) if scores else np.empty(0)


def image_and_map(image: ArrayLike, values: ArrayLike, name: str = "the map") -> tuple[Array, Array]:
    """Take one image as floats and one map of its space as float64.

    Raises
    ------
    ShapeError
        The image is not (C, *space) with one to three space axes, or the map does not have its space.
    DtypeError, NonFiniteError
        One of them does not hold finite real numbers.
    """
    pixels, seen = one_image(image), finite_floats(values, name).astype(np.float64)
    if seen.shape != pixels.shape[1:]:
        raise ShapeError(
            f"{name} is {seen.shape} and the image (C, *space) {pixels.shape}; {name} must have shape "
            f"{pixels.shape[1:]}: one image and one map at a time, the map resized to the image"
        )
    return pixels, seen


def one_image(image: ArrayLike) -> Array:
    """Take one image (C, *space) as floats, float32 or wider; errors as of `image_and_map`."""
    pixels = finite_floats(image, "the image")
    if not 2 <= pixels.ndim <= 4 or 0 in pixels.shape:
        raise ShapeError(f"the image must be (C, *space) with one to three space axes, got shape {pixels.shape}")
    return pixels


def rounding(scores: Array) -> float:
    """What may be rounding in differences of scores: eight units in the last place of the largest.

    Scores that float32 holds exactly are taken to come from there, whatever type they have now.
    """
    with np.errstate(over="ignore"):
        narrow = np.float32 if (scores.astype(np.float32) == scores).all() else np.float64
    return float(8 * np.finfo(narrow).eps * np.abs(scores).max(initial=0.0))


def _batches(images: Iterator[Array], most: int) -> Iterator[Array]:
    while batch := list(islice(images, most)):
        yield np.stack(batch)


def _checked(answered: Array, images: int, before: int) -> Array:
    scores = np.asarray(answered)
    if scores.shape != (images,):
        raise ShapeError(
            f"the answer to {images} images has shape {scores.shape}, it must be ({images},): one score per image"
        )
    if scores.dtype.kind not in "fiub":
        raise DtypeError(f"the answer must hold real numbers, got dtype {scores.dtype}")
    finite = np.isfinite(scores)
    if not finite.all():
        raise NonFiniteError(
            f"{int((~finite).sum())} of {images} scores are NaN or infinite, the first for perturbed image "
            f"{before + int((~finite).argmax())}; is the fill far outside what the model was trained on?"
        )
    return scores.astype(np.float64)
