"""Integrated gradients: what each pixel adds to the score on the straight way from a baseline to the image."""

from collections.abc import Mapping
from typing import Any

from xai_med.baselines import Baseline, several_baselines
from xai_med.checks import Check
from xai_med.errors import SettingError
from xai_med.input_gradients import read_out_check, read_out_named
from xai_med.paths import path_integral
from xai_med.registry import register_method
from xai_med.repeated import repeated
from xai_med.request import Attribution, Request


def verify_integrated_gradients(
    request: Request, attribution: Attribution, settings: Mapping[str, Any]
) -> tuple[Check, ...]:
    """Verify the gradient in the middle of the first path; completeness is measured on every result.

    Parameters
    ----------
    request, attribution : Request, Attribution
        The question and the result.
    settings : mapping
        Of the method.
    """
    tensors = request.network.tensors
    images = tensors.to_numpy(request.batch)
    start = several_baselines(images, settings["baseline"])[0]
    asked = repeated(request, "gradient", None, by="integrated_gradients")
    middle = (images + start) / 2
    pooled = read_out_check(attribution, settings["read_out"], tensors)
    return pooled, *(check for check in asked.verified_at(middle) if check.key != "read_out")


@register_method(
    "integrated_gradients",
    source="Sundararajan, Taly, Yan 2017, arXiv:1703.01365, section 3; midpoints, adaptive",
    cost="a forward pass and per class a pullback for each step: 20, three times as many until completeness holds",
    needs="a differentiable model and a baseline that means nothing there",
    properties=("complete", "mirror_equivariant"),
    verification=verify_integrated_gradients,
)
def integrated_gradients(
    request: Request,
    *,
    baseline: Baseline = 0.0,
    steps: int = 20,
    most_steps: int = 1620,
    tolerance: float = 0.01,
    read_out: str = "signed_sum",
) -> Attribution:
    """Integrate the gradient from a baseline to the image, until the map's sum is the difference of the scores.

    Parameters
    ----------
    request : Request
        What to explain.
    baseline : number, array, str or list of such
        What means nothing (see `xai_med.baselines.baseline_images`); zero is mid-grey after the usual normalisation.
        A map depends on it: pixels equal to the baseline receive nothing. Of several, the mean.
    steps : int
        To begin with; tripled for the images that need more, which keeps the points that were computed.
    most_steps : int
        At most.
    tolerance : float
        Of completeness: share of the difference of scores by which the sum may differ from it.
    read_out : str
        As for ``gradient``; the signed sum keeps completeness.

    Returns
    -------
    Attribution
        `values` (N, K, C, *space), in units of the score; their sum is S(image) - S(baseline), which is checked.

    Raises
    ------
    IdentityError
        The sum does not come near enough by `most_steps`.
    SettingError
        A setting is out of its range.
    NotApplicableError
        ``differentiable=True``.
    """
    _check_settings(steps, most_steps, tolerance)
    read, tensors = read_out_named(read_out), request.network.tensors
    asked = repeated(request, "gradient", {"read_out": "signed_sum"}, by="integrated_gradients")
    images = tensors.to_numpy(request.batch)
    paths = [
        path_integral(asked, images, start, steps, most_steps, tolerance)
        for start in several_baselines(images, baseline)
    ]
    values = sum((path.values for path in paths[1:]), paths[0].values) / len(paths)
    worst = max(path.deviation for path in paths)
    used = max(path.steps for path in paths)
    name = "completeness: sum of the map against the difference of scores"
    check = Check(name, worst, tolerance, note=f"{used} steps", key="completeness")
    return Attribution(values, read(values, tensors), asked.explained, checks=(check,))


def _check_settings(steps: int, most_steps: int, tolerance: float) -> None:
    if any(isinstance(count, bool) or not isinstance(count, int) or count < 1 for count in (steps, most_steps)):
        raise SettingError(f"steps and most_steps are numbers of at least 1, got {steps!r} and {most_steps!r}")
    if steps > most_steps:
        raise SettingError(f"steps={steps} is more than most_steps={most_steps}")
    if not 0 < tolerance < 1:
        raise SettingError(f"tolerance is a share between 0 and 1, got {tolerance!r}")
