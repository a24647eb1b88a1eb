"""SmoothGrad and its relatives: a method's mean, mean square or variance over noisy copies of the image."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.checks import Check
from xai_med.errors import SettingError
from xai_med.input_gradients import read_out_named
from xai_med.moments import Moments
from xai_med.progress import with_progress
from xai_med.registry import register_method
from xai_med.repeated import Repeated, repeated
from xai_med.request import Attribution, Request

_STATISTICS = ("mean", "square", "variance")


def verify_smooth_grad(request: Request, attribution: Attribution, settings: Mapping[str, Any]) -> tuple[Check, ...]:  # noqa: ARG001 (every verification is given them)
    """Verify the method that was asked, at the first noisy copy.

    Parameters
    ----------
    request, attribution : Request, Attribution
        The question and the result.
    settings : mapping
        Of the method.
    """
    asked = repeated(request, settings["of"], settings["of_settings"], by="smooth_grad")
    return asked.verified_at(next(_noisy(asked, settings["samples"], settings["noise"], settings["seed"])))


@register_method(
    "smooth_grad",
    source="Smilkov et al. 2017, arXiv:1706.03825; mean square and variance: Adebayo et al. 2018, arXiv:1810.03307",
    cost="one forward pass, and per sample what the method asked takes",
    needs="what the method asked needs",
    properties=("linear_in_target", "non_negative"),
    verification=verify_smooth_grad,
)
def smooth_grad(
    request: Request,
    *,
    of: str = "gradient",
    samples: int = 50,
    noise: float = 0.15,
    statistic: str = "mean",
    seed: int = 0,
    read_out: str | None = None,
    of_settings: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Attribution:
    """Ask a method at noisy copies of the image, for the scores of the clean one.

    Parameters
    ----------
    request : Request
        What to explain; predicted classes are those of the clean image.
    of : str
        The method that is asked: ``"gradient"``, or any other, such as ``"lrp"`` or ``"grad_cam"``.
    samples : int
        Noisy copies.
    noise : float
        Standard deviation of the Gaussian noise, as a share of each image's range of values.
    statistic : str
        ``"mean"`` (SmoothGrad), ``"square"`` (SmoothGrad²) or ``"variance"`` (VarGrad) over the samples.
    seed : int
        Of the noise, which is the same for every image of the batch.
    read_out : str or None
        Of the channels, as for ``gradient``, after the statistic; None as the method asked does it, else a signed sum.
    of_settings : mapping
        Settings of the method asked.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Attribution
        `values` of the method asked; `maps` read out, at the input. The checks tell how much the samples' own
        scatter leaves of the mean (its standard error).

    Raises
    ------
    SettingError
        A setting is out of its range.
    NotApplicableError
        ``differentiable=True``.
    """
    _check_settings(samples, noise, statistic)
    asked = repeated(request, of, of_settings, by="smooth_grad")
    chosen = read_out_named(asked.method.settings.get("read_out", "signed_sum") if read_out is None else read_out)
    tensors = request.network.tensors
    values, maps, first = Moments(), Moments(), None
    copies = _noisy(asked, samples, noise, seed)
    for images in with_progress(copies, total=samples, what="smooth_grad", shown=progress):
        found = asked.at(images)
        values.add(tensors.stop_gradient(found.values))
        maps.add(tensors.stop_gradient(found.maps))
        first = found if first is None else first
    if first is None:
        raise SettingError("smooth_grad needs at least one sample")
    result, placed = getattr(values, statistic), getattr(maps, statistic)
    checks = () if statistic != "mean" else (values.standard_error(tensors.to_numpy),)
    read = chosen(result, tensors) if asked.is_at_input(first) else placed
    return Attribution(result, read, asked.explained, layer=first.layer, checks=checks, rules=first.rules)


def _noisy(asked: Repeated, samples: int, noise: float, seed: int) -> Iterator[Array]:
    images = asked.request.network.tensors.to_numpy(asked.request.batch)
    axes = tuple(range(1, images.ndim))
    width = noise * (images.max(axis=axes, keepdims=True) - images.min(axis=axes, keepdims=True))
    generator = np.random.default_rng(seed)
    for _ in range(samples):
        yield (images + width * generator.standard_normal(images.shape[1:])).astype(images.dtype)


def _check_settings(samples: int, noise: float, statistic: str) -> None:
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise SettingError(f"samples is a number of noisy copies, at least 1, got {samples!r}")
    if not (isinstance(noise, float | int) and 0 <= noise < np.inf):
        raise SettingError(f"noise is a share of the image's range, at least 0, got {noise!r}")
    if statistic not in _STATISTICS:
        raise SettingError(f"statistic={statistic!r} is unknown; choose one of {', '.join(_STATISTICS)}")
