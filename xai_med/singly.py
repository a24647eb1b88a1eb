"""Explains images one at a time where a model mixes them, or may mix them, in ways that cannot be followed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from xai_med.backend.tensors import Tensors, shape_of
from xai_med.checks import Check
from xai_med.errors import NotApplicableError
from xai_med.request import Attribution, Explained, MixedImagesError, Request
from xai_med.selection import Selection
from xai_med.targets import Mask, PerImage, Target


def explain_images(run: Callable[[Request], Attribution], request: Request) -> Attribution:
    """Run a method on the whole batch, or image by image where the model mixes images.

    Parameters
    ----------
    run : callable
        The method.
    request : Request
        For a batch.
    """
    images = shape_of(request.batch)[0]
    try:
        return _whole(run(request), images)
    except MixedImagesError as mixed:
        why = str(mixed)
    parts = [_whole(run(_of_image(request, number)), 1) for number in range(images)]
    return _joined(parts, request.network.tensors, why)


def _whole(found: Attribution, images: int) -> Attribution:
    """Refuse maps that are not one set per image, as where a model folds several views into the batch."""
    for given in (shape_of(found.values), shape_of(found.maps)):
        if given[:2] != (images, found.explained.selection.scores.shape[1]):
            raise NotApplicableError(
                f"the layer holds features of {given[0]} images for {images} given: the model folds several views of "
                f"an image into the batch; explain one view, or use method='gradient'"
            )
    return found


def _of_image(request: Request, number: int) -> Request:
    batch = request.network.tensors.take(request.batch, [number], 0)
    space = len(shape_of(request.batch)) - 2
    return replace(request, batch=batch, target=_target_of_image(request.target, number, space))


def _target_of_image(target: Target, number: int, space: int) -> Target:
    if isinstance(target, PerImage):
        return PerImage([target.names[number]])
    if isinstance(target, Mask) and np.ndim(target.mask) == space + 1:
        return Mask(target.name, np.asarray(target.mask)[number])
    return target


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
        labels=tuple(part.explained.selection.labels[0] for part in parts),
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
        checks=(
            *_joined_checks(parts),
            Check("images explained one at a time", float(len(parts)), note=why, key="one_by_one"),
        ),
        extras={name: np.concatenate([part.extras[name] for part in parts]) for name in parts[0].extras},
    )


def _joined_checks(parts: list[Attribution]) -> tuple[Check, ...]:
    """Counts are added up, of deviations the worst stays; what could not be measured for one image stays so."""
    by_key: dict[str, list[Check]] = {}
    for part in parts:
        for check in part.checks:
            by_key.setdefault(check.key, []).append(check)
    return tuple(_added(same) if same[0].is_count else max(same, key=_badness) for same in by_key.values())


def _added(same: list[Check]) -> Check:
    known = [check.out_of for check in same if check.out_of is not None]
    return replace(same[0], value=sum(check.value for check in same), out_of=sum(known) if known else None)


def _badness(check: Check) -> tuple[bool, float]:
    return (not check.is_measured, abs(check.value))
