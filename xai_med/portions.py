"""Explains a batch in portions: one image at a time where a model mixes images, a few where maps are many."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from xai_med.backend.start import AtInput
from xai_med.backend.tensors import Tensors, shape_of
from xai_med.checks import Check, joined_checks
from xai_med.errors import NotApplicableError
from xai_med.request import Attribution, Explained, MixedImagesError, Request
from xai_med.same_scores import SameScores
from xai_med.selection import Selection
from xai_med.softmax import SoftmaxOf
from xai_med.targets import All, Classes, Contrast, Mask, PerImage, Predicted, Probability, Sign, Target

_SEPARABLE = (All, Classes, Contrast, Mask, PerImage, Predicted, Probability, SameScores, Sign)
"""Targets that mean the same for some images of a batch; a function of the output may hold numbers of all, and so
may a caller's subclass of one of these."""

_CLASSES_EXPECTED = 16
"""Assumed of a model until its output was seen."""


def explain_images(
    run: Callable[[Request], Attribution], request: Request, *, cells_at_once: int | None = None
) -> Attribution:
    """Run a method on the whole batch, in portions, or image by image where the model mixes images.

    Parameters
    ----------
    run : callable
        The method.
    request : Request
        For a batch.
    cells_at_once : int, optional
        See `Method`.
    """
    images = shape_of(request.batch)[0]
    if request.differentiable or not is_separable(request.target, images, len(request.space)):
        cells_at_once = None
    size, why = _portion(request, cells_at_once, _expected(request.target)), ""
    if size == 1 < images:
        why = _why_mixed(of_images(request, 0, 2))  # in portions of one it would not be noticed, and not be told of
    parts: list[Attribution] = []
    done = 0
    while done < images:
        stop = min(done + size, images)
        try:
            parts.append(_explained(run, request, done, stop))
        except MixedImagesError as mixed:
            if size == 1:
                raise
            size, why, parts, done = 1, str(mixed), [], 0  # what was explained together before was mixed too
            continue
        done = stop
        if not why:
            size = _portion(request, cells_at_once, parts[-1].explained.count)
    if len(parts) == 1 and not why:
        return parts[0]
    return _joined(parts, request.network.tensors, why)


def _why_mixed(two: Request) -> str:
    """What in the model mixes the images of a batch, if anything does: one forward pass, and no derivatives."""
    with two.network.trace(two.batch, start=AtInput()) as trace:
        try:
            two.explained(trace)
        except MixedImagesError as mixed:
            return str(mixed)
    return ""


def _explained(run: Callable[[Request], Attribution], request: Request, start: int, stop: int) -> Attribution:
    """One portion; when this returns, its activations are gone before those of the next one are made."""
    found = _whole(run(of_images(request, start, stop)), stop - start)
    is_all = stop - start == shape_of(request.batch)[0]
    return found if is_all else _released(found, request.network.tensors)


def is_separable(target: Target, images: int, space: int) -> bool:
    """Whether some images can be explained without the others; a wrong number of targets the method refuses."""
    if type(target) is SoftmaxOf:
        return is_separable(target.chosen, images, space)
    if type(target) not in _SEPARABLE:
        return False
    if isinstance(target, PerImage):
        return len(target.names) == images
    if isinstance(target, Mask) and np.ndim(target.mask) == space + 1:
        return len(np.asarray(target.mask)) == images
    return True


def _portion(request: Request, cells_at_once: int | None, classes: int) -> int:
    """How many images to explain together."""
    images = shape_of(request.batch)[0]
    if cells_at_once is None:
        return images
    return max(1, min(images, cells_at_once // (max(classes, 1) * math.prod(request.space))))


def _expected(target: Target) -> int:
    """How many maps of each image are asked for."""
    if isinstance(target, SoftmaxOf):
        return _expected(target.chosen)
    if isinstance(target, All):
        return _CLASSES_EXPECTED
    if isinstance(target, Classes):
        return len(target.names)
    if isinstance(target, PerImage):
        return max((len(row) for row in target.names if isinstance(row, list | tuple | np.ndarray)), default=1)
    return 1


def _whole(found: Attribution, images: int) -> Attribution:
    """Refuse maps that are not one set per image, as where a model folds several views into the batch."""
    for given in (shape_of(found.values), shape_of(found.maps)):
        if given[:2] != (images, found.explained.selection.scores.shape[1]):
            raise NotApplicableError(
                f"the layer holds features of {given[0]} images for {images} given: the model folds several views of "
                f"an image into the batch; explain one view, or use method='gradient'"
            )
    return found


def of_images(request: Request, start: int, stop: int) -> Request:
    """The same question about some images of the batch."""
    if stop - start == shape_of(request.batch)[0]:
        return request
    batch = request.network.tensors.take(request.batch, list(range(start, stop)), 0)
    return replace(request, batch=batch, target=_target_of(request.target, start, stop, len(request.space)))


def _target_of(target: Target, start: int, stop: int, space: int) -> Target:
    if isinstance(target, SoftmaxOf):
        return SoftmaxOf(_target_of(target.chosen, start, stop, space))
    if isinstance(target, PerImage):
        return PerImage(target.names[start:stop])
    if isinstance(target, SameScores):
        return target.of_images(start, stop)
    if isinstance(target, Mask) and np.ndim(target.mask) == space + 1:
        return Mask(target.name, np.asarray(target.mask)[start:stop])
    return target


def _released(found: Attribution, tensors: Tensors) -> Attribution:
    """Without the graph of derivatives, which keeps all activations of the portion."""
    explained = found.explained
    logits = replace(explained.logits, values=tensors.stop_gradient(explained.logits.values))
    outputs = tensors.stop_gradient(explained.selection.outputs)
    selection = replace(explained.selection, outputs=outputs, cotangents=())
    return replace(found, explained=replace(explained, logits=logits, selection=selection))


def _joined(parts: list[Attribution], tensors: Tensors, why: str) -> Attribution:
    def along_images(read: Callable[[Attribution], Any]) -> Any:
        return np.concatenate([read(part) for part in parts])

    first = parts[0].explained
    coefficients = None
    if first.selection.coefficients is not None:
        coefficients = along_images(lambda part: part.explained.selection.coefficients)
    selection = Selection(
        outputs=first.selection.outputs,
        cotangents=(),
        scores=along_images(lambda part: part.explained.selection.scores),
        labels=tuple(row for part in parts for row in part.explained.selection.labels),
        indices=along_images(lambda part: part.explained.selection.indices),
        coefficients=coefficients,
    )
    explained: Explained = replace(
        first, selection=selection, all_logits=along_images(lambda part: part.explained.all_logits)
    )
    return replace(
        parts[0],
        values=tensors.concatenate([part.values for part in parts], 0),
        maps=tensors.concatenate([part.maps for part in parts], 0),
        explained=explained,
        checks=(*joined_checks([part.checks for part in parts]), *_said(parts, why)),
        extras={name: np.concatenate([part.extras[name] for part in parts]) for name in parts[0].extras},
    )


def _said(parts: list[Attribution], why: str) -> tuple[Check, ...]:
    return (Check("images explained one at a time", float(len(parts)), note=why, key="one_by_one"),) if why else ()
