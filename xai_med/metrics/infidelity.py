"""How far an attribution is from what the score does when the image changes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError, ShapeError
from xai_med.maps.finite import finite_floats
from xai_med.metrics.answer import Answer, ask, one_image, rounding
from xai_med.metrics.frozen import freeze
from xai_med.metrics.perturbations import GaussianNoise, Perturbation, RemovedSquare, differences
from xai_med.metrics.settings import one_of, whole_number

Kind = Literal["per_unit", "share"]


@dataclass(frozen=True, eq=False)
class Infidelity:
    """What the attribution said that the score would lose, beside what it lost.

    Parameters
    ----------
    said, lost : ndarray of shape (S,), float64
        In units of the score, one per perturbation; read-only.
    perturbation : GaussianNoise or RemovedSquare
    seed : int
    resolution : float
        Differences of scores up to this may be rounding.
    """

    said: Array
    lost: Array
    perturbation: Perturbation
    seed: int
    resolution: float = 0.0

    def __post_init__(self) -> None:
        freeze(self, "said", "lost")

    @property
    def value(self) -> float:
        """Mean of ``(said - lost)**2``, in squared units of the score; 0 is faithful."""
        return float(((self.said - self.lost) ** 2).mean())

    @property
    def of_zeros(self) -> float:
        """Infidelity of an attribution that is zero everywhere: what `value` has to stay below."""
        return float((self.lost**2).mean())

    @property
    def best_scale(self) -> float:
        """Factor of the attribution under which `value` is smallest; NaN where the attribution never says anything."""
        size = float((self.said**2).mean())
        return float((self.said * self.lost).mean()) / size if size > 0 else math.nan

    @property
    def value_at_best_scale(self) -> float:
        """Infidelity of the attribution times `best_scale`, which is never above `of_zeros`."""
        if math.isnan(self.best_scale):
            return math.nan
        return float(((self.best_scale * self.said - self.lost) ** 2).mean())

    @property
    def relative(self) -> float:
        """Value as a share of `of_zeros`, without unit; NaN where the score never changed by more than rounding."""
        return self.value / self.of_zeros if np.abs(self.lost).max() > self.resolution else math.nan


def infidelity(
    answer: Answer,
    image: ArrayLike,
    attribution: ArrayLike,
    *,
    perturbation: Perturbation,
    kind: Kind,
    samples: int = 100,
    seed: int = 0,
    batch_size: int = 32,
) -> Infidelity:
    """Compare the attribution with the score under random perturbations I of the image x: ``S(x) - S(x - I)``.

    Parameters
    ----------
    answer : Answer
        The score that was attributed: the logit for most methods.
    image : array-like of shape (C, *space)
    attribution : array-like of shape (C, *space), or (*space) where that is enough
        See `kind`.
    perturbation : GaussianNoise or RemovedSquare
    kind : "per_unit" or "share"
        What the attribution's numbers are. ``"per_unit"``: score per unit of the image, as a gradient, for each
        channel; it says that ``sum I * attribution`` is lost (a map (*space) does for one channel). ``"share"``: the
        pixel's share in the score, as gradient times input, LRP or integrated gradients; it says that the sum over
        removed pixels is lost, and has no answer for noise.
    samples : int
        Perturbations.
    seed : int
    batch_size : int
        Most images in one call of `answer`.

    Raises
    ------
    SettingError
        A setting is out of its range, or shares were to answer for noise.
    ShapeError, DtypeError, NonFiniteError
        Of the image, the attribution or an answer.

    References
    ----------
    Yeh et al. 2019, arXiv:1901.09392, definition 2.1; the best scale is captum's ``normalize=True``. A share is the
    value per unit times the difference from the fill, so that its sum stands for ``sum I * attribution``.
    """
    pixels, count = one_image(image), whole_number(samples, "samples", least=1)
    one_of(kind, "kind", get_args(Kind))
    if not isinstance(perturbation, GaussianNoise | RemovedSquare):
        raise SettingError(f"perturbation is GaussianNoise(sigma) or RemovedSquare(side_px), got {perturbation!r}")
    if kind == "share" and isinstance(perturbation, GaussianNoise):
        raise SettingError("a share in the score does not say what noise does; use RemovedSquare, or kind='per_unit'")
    values = _attribution(attribution, pixels, kind)
    whole_number(seed, "seed", least=0)
    said: list[float] = []

    def perturbed() -> Iterator[Array]:
        yield pixels
        for difference, where in differences(pixels, perturbation, count, seed):
            said.append(float(values[..., where].sum() if kind == "share" else (values * difference).sum()))
            yield pixels - difference

    scores = ask(answer, perturbed(), batch_size=batch_size)
    return Infidelity(np.array(said), scores[0] - scores[1:], perturbation, seed, rounding(scores))


def _attribution(attribution: ArrayLike, pixels: Array, kind: Kind) -> Array:
    values = finite_floats(attribution, "the attribution").astype(np.float64)
    if values.shape == pixels.shape:
        return values
    if values.shape == pixels.shape[1:] and (kind == "share" or len(pixels) == 1):
        return values[None]
    raise ShapeError(
        f"the attribution is {values.shape} and the image (C, *space) {pixels.shape}; per unit it needs the image's "
        "shape, as a share it may be summed over channels"
    )
