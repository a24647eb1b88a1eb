"""Whether a map changes when the model's weights are lost, layer by layer: the sanity check of model parameters.

A map that stays alike does not show what the model has learned. One that changes is not right for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from xai_med.backend.tensors import Array
from xai_med.errors import SettingError
from xai_med.maps.finite import finite_floats
from xai_med.metrics.frozen import freeze
from xai_med.metrics.settings import one_of
from xai_med.metrics.similarity import Similarity, random_pairs, similarity

Randomisation = Literal["cascading", "independent"]


@dataclass(frozen=True, eq=False)
class SanityCurve:
    """Similarity of the trained model's map to those of models with lost weights.

    Parameters
    ----------
    randomisation : "cascading" or "independent"
        Whether each stage loses what the stages before have lost, too.
    kind : "spearman", "spearman_abs", "ssim" or "hog"
    stages : tuple of str
    similarities : ndarray of shape (stages,), float64
        NaN where the map of a stage is constant; read-only.
    baseline : ndarray of shape (pairs,), float64
        Of random pairs of maps of different images, all of the trained model; read-only.
    """

    randomisation: Randomisation
    kind: Similarity
    stages: tuple[str, ...]
    similarities: Array
    baseline: Array

    def __post_init__(self) -> None:
        freeze(self, "similarities", "baseline")

    @property
    def threshold(self) -> float:
        """Mean of the baseline over the pairs that have a similarity; for ``"spearman"`` of its magnitudes."""
        return float(np.nanmean(self._compared(self.baseline)))

    @property
    def below(self) -> tuple[bool, ...]:
        """Of each stage, whether the map is less like the trained one than maps of unrelated images are.

        For ``"spearman"`` magnitudes are compared: a map that is turned into its negative has kept all that it
        showed. A stage without a similarity is not below.
        """
        return tuple(bool(value < self.threshold) for value in self._compared(self.similarities))

    def _compared(self, values: Array) -> Array:
        return np.abs(values) if self.kind == "spearman" else values

    @property
    def verdict(self) -> Literal["passed", "failed", "undefined"]:
        """Cascading: whether the last stage is below; independent: whether all are, which is ours.

        Undefined where a stage that counts has no similarity and none of them fails.
        """
        counted = slice(-1, None) if self.randomisation == "cascading" else slice(None)
        known = ~np.isnan(self.similarities[counted])
        if not (np.array(self.below[counted]) | ~known).all():
            return "failed"
        return "passed" if known.all() else "undefined"


def sanity_curve(
    trained: ArrayLike,
    randomised: Sequence[ArrayLike],
    *,
    stages: Sequence[str],
    others: Sequence[ArrayLike],
    kind: Similarity = "ssim",
    randomisation: Randomisation = "cascading",
    pairs: int = 50,
    seed: int = 0,
) -> SanityCurve:
    """Compare a map with those of models whose weights were lost step by step.

    Parameters
    ----------
    trained : array-like of shape (*space)
        Map of one image by the trained model.
    randomised : sequence of array-likes of shape (*space)
        Maps of the same image, method and target by the models of each stage, see `randomised_weights`.
    stages : sequence of str
        Name of each: the layer that was lost.
    others : sequence of array-likes of shape (*space)
        Maps of other images by the trained model, at least two, for the baseline.
    kind : "spearman", "spearman_abs", "ssim" or "hog"
        See `similarity`.
    randomisation : "cascading" or "independent"
        How the models were made: losing layers from the top on, or one layer each.
    pairs : int
        Random pairs of `others`.
    seed : int
        Of the pairs.

    Raises
    ------
    SettingError
        Names and maps differ in number, there is no stage, the trained map is constant, or no random pair has a
        similarity.
    ShapeError, DtypeError, NonFiniteError, MissingDependencyError
        As of `similarity`.

    References
    ----------
    Adebayo et al. 2018, arXiv:1810.03292, section 3. The baseline: Arun et al. 2021, doi:10.1148/ryai.2021200267, who
    let a map pass if its similarity falls below the mean SSIM of 50 random pairs.
    """
    one_of(randomisation, "randomisation", get_args(Randomisation))
    if isinstance(stages, str) or len(stages) != len(randomised) or not len(stages):
        raise SettingError(f"{len(randomised)} maps of models with lost weights came with the stages {stages!r}")
    if np.ptp(finite_floats(trained, "the trained model's map")) == 0:
        raise SettingError("the trained model's map is constant: it shows nothing that could be lost")
    similarities = np.array([similarity(trained, each, kind=kind) for each in randomised])
    baseline = random_pairs(others, kind=kind, pairs=pairs, seed=seed)
    if np.isnan(baseline).all():
        raise SettingError("no random pair of the other images' maps has a similarity: one map of each is constant")
    return SanityCurve(randomisation, kind, tuple(stages), similarities, baseline)
