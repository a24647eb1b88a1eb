"""Maps averaged over mirrored and rescaled copies of the image, mirrored back: an option for any method."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from types import MappingProxyType

import numpy as np

from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.checks import Check, joined_checks
from xai_med.errors import NotApplicableError, SettingError
from xai_med.request import Attribution, Request
from xai_med.same_scores import SameScores, of_same_scores
from xai_med.targets import FunctionOfOutput, Mask, Probability, Target

_FACTORS = (0.9, 1.0, 1.1)
SMOOTHINGS: Mapping[str, tuple[tuple[bool, float], ...]] = MappingProxyType(
    {
        "flips": tuple((is_mirrored, 1.0) for is_mirrored in (False, True)),
        "scales": tuple((False, factor) for factor in _FACTORS),
        "flips_and_scales": tuple(product((False, True), _FACTORS)),
    }
)
"""By name: whether the last space axis is mirrored, and what values are multiplied by, for each copy."""


def smoothed(run: Callable[[Request], Attribution], request: Request, how: str) -> Attribution:
    """Average a method over copies of the image, for the scores of the image itself.

    Mirroring exchanges the patient's left and right: it is for models to which that makes no difference.

    Parameters
    ----------
    run : callable
        The method.
    request : Request
        What to explain.
    how : str
        ``"flips"``: the image, and mirrored along its last axis; ``"scales"``: its values times 0.9, 1 and 1.1;
        ``"flips_and_scales"``: all six.

    Returns
    -------
    Attribution
        The mean of the values and of the maps; the method's extras are the image's own.

    Raises
    ------
    SettingError
        Another word.
    NotApplicableError
        The target cannot be mirrored, or the graph of derivatives was to be kept.
    """
    if not isinstance(how, str) or how not in SMOOTHINGS:
        raise SettingError(f"smoothing={how!r} is unknown; choose one of {', '.join(SMOOTHINGS)}")
    if request.differentiable:
        raise NotApplicableError("smoothing keeps no graph of derivatives over its copies")
    tensors, clean = request.network.tensors, run(request)
    same = of_same_scores(request, clean.explained)
    if not isinstance(same.target, SameScores | Probability | Mask | FunctionOfOutput):
        raise NotApplicableError("each copy would choose its own pixels to explain; give target=Mask(class, mask)")
    found = [clean]
    for is_mirrored, factor in SMOOTHINGS[how]:
        if (is_mirrored, factor) == (False, 1.0):
            continue
        batch = (_mirrored(same.batch, tensors) if is_mirrored else same.batch) * factor
        target = _mirrored_target(same.target) if is_mirrored else same.target
        one = run(replace(same, batch=batch, target=target))
        if is_mirrored:
            one = replace(one, values=_mirrored(one.values, tensors), maps=_mirrored(one.maps, tensors))
        found.append(one)
    note = "of which one is the image itself"
    check = Check("copies of the image over which the map is the mean", float(len(found)), note=note, key="copies")
    return replace(
        clean,
        values=_mean([tensors.stop_gradient(one.values) for one in found]),
        maps=_mean([tensors.stop_gradient(one.maps) for one in found]),
        checks=(*joined_checks([one.checks for one in found]), check),
    )


def _mean(several: list[Tensor]) -> Tensor:
    total = several[0]
    for one in several[1:]:
        total = total + one
    return total / len(several)


def _mirrored(tensor: Tensor, tensors: Tensors) -> Tensor:
    axis = len(shape_of(tensor)) - 1
    return tensors.take(tensor, list(reversed(range(shape_of(tensor)[axis]))), axis)


def _mirrored_target(target: Target) -> Target:
    if isinstance(target, Mask):
        return Mask(target.name, np.flip(np.asarray(target.mask), axis=-1))
    if isinstance(target, SameScores | Probability):
        return target
    raise NotApplicableError("a function of the output cannot be mirrored with the image; use smoothing='scales'")
