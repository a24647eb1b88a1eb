"""Expected gradients: integrated gradients whose baseline is drawn from real images."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.checks import Check
from xai_med.errors import NonFiniteError, SettingError, ShapeError
from xai_med.input_gradients import read_out_check, read_out_named
from xai_med.moments import Moments
from xai_med.progress import with_progress
from xai_med.registry import register_method
from xai_med.repeated import repeated
from xai_med.request import Attribution, Request


def verify_expected_gradients(
    request: Request, attribution: Attribution, settings: Mapping[str, Any]
) -> tuple[Check, ...]:
    """Verify the gradient at the first sampled point.

    Parameters
    ----------
    request, attribution : Request, Attribution
        The question and the result.
    settings : mapping
        Of the method.
    """
    tensors = request.network.tensors
    images = tensors.to_numpy(request.batch)
    asked = repeated(request, "gradient", None, by="expected_gradients")
    references = _references(settings["references"], images, request)
    _, point = next(_points(images, references, settings["samples"], settings["seed"]))
    pooled = read_out_check(attribution, settings["read_out"], tensors)
    return pooled, *(check for check in asked.verified_at(point) if check.key != "read_out")


@register_method(
    "expected_gradients",
    source="Erion et al. 2021, arXiv:1906.10670, section 2.2",
    cost="per sample a forward pass and per class a pullback",
    needs="a differentiable model and reference images",
    properties=("linear_in_target",),
    verification=verify_expected_gradients,
)
def expected_gradients(
    request: Request,
    *,
    references: Any = None,
    samples: int = 200,
    seed: int = 0,
    read_out: str = "signed_sum",
    progress: bool = False,
) -> Attribution:
    """Average gradients on straight ways from reference images to the image, times the difference.

    Parameters
    ----------
    request : Request
        What to explain.
    references : array of shape (M, C, *space)
        Images that the model was made for, prepared like the input, such as some of the training set.
    samples : int
        Points; references take turns in random order, places on the way are spread evenly.
    seed : int
        Of both; the same for every image of the batch.
    read_out : str
        As for ``gradient``.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Attribution
        `values` (N, K, C, *space), in units of the score; in the limit their sum is S(image) minus the references'
        mean score. How near it is, and the standard error, are among the checks.

    Raises
    ------
    SettingError
        No references, or a setting out of its range.
    ShapeError
        References of another shape than the images.
    NotApplicableError
        ``differentiable=True``.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise SettingError(f"samples is a number of points, at least 1, got {samples!r}")
    read, tensors = read_out_named(read_out), request.network.tensors
    asked = repeated(request, "gradient", {"read_out": "signed_sum"}, by="expected_gradients")
    images = tensors.to_numpy(request.batch)
    drawn = _references(references, images, request)
    moments = Moments()
    points = _points(images, drawn, samples, seed)
    for difference, point in with_progress(points, total=samples, what="expected_gradients", shown=progress):
        moments.add(asked.at(point).values * tensors.from_numpy(difference[:, None], request.batch))
    before = np.mean([asked.scores(np.broadcast_to(one, images.shape).copy()) for one in drawn], axis=0)
    complete = _completeness(tensors.to_numpy(moments.mean), asked.explained.selection.scores - before)
    checks = (complete, moments.standard_error(tensors.to_numpy))
    return Attribution(moments.mean, read(moments.mean, tensors), asked.explained, checks=checks)


def _references(references: Any, images: Array, request: Request) -> Array:
    if references is None:
        raise SettingError("expected_gradients needs references=: images (M, C, *space), such as some for training")
    network = request.network
    given = network.tensors.to_numpy(references) if network.is_tensor(references) else np.asarray(references)
    if given.ndim != images.ndim or given.shape[1:] != images.shape[1:] or not len(given):
        raise ShapeError(f"references have shape {given.shape}; they must be (M, C, *space) = (M, {images.shape[1:]})")
    if given.dtype.kind != "f" or not np.isfinite(given).all():
        raise NonFiniteError("references must be finite floating-point images, prepared like the input")
    return given.astype(images.dtype)


def _points(images: Array, references: Array, samples: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """Differences and points on the ways; equal parts of the way are visited once each, in random order."""
    generator = np.random.default_rng(seed)
    shares = (generator.permutation(samples) + generator.random(samples)) / samples
    turns = [generator.permutation(len(references)) for _ in range(-(-samples // len(references)))]
    for share, chosen in zip(shares, np.concatenate(turns), strict=False):
        difference = images - references[chosen]
        yield difference, (references[chosen] + share * difference).astype(images.dtype)


def _completeness(values: Array, rise: Array) -> Check:
    sums = values.astype(np.float64).reshape(*rise.shape, -1).sum(axis=2)
    deviation = np.abs(sums - rise) / np.where(rise == 0, 1, np.abs(rise))
    name = "completeness: sum of the map against the score minus the references' mean score"
    return Check(name, float(deviation.max()), note="of a finite sample; more samples lower it", key="completeness")
