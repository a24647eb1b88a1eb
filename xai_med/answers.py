"""The explained scores of changed images, many at once: what methods ask that only change the input."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from xai_med.backend.tensors import Array, shape_of
from xai_med.errors import NonFiniteError, NotApplicableError, SettingError
from xai_med.opaque import plainly_explained, refuse_probabilities, refuse_unrepeatable
from xai_med.repeated import explained_scores
from xai_med.request import Explained, MixedImagesError, Request
from xai_med.same_scores import SameScores, of_same_scores
from xai_med.targets import Mask, Probability, Target

AT_ONCE = 32
"""Images in one forward pass where nothing else is asked for."""


@dataclass(frozen=True, eq=False)
class Answers:
    """The explained scores of any changed copies of the images.

    Parameters
    ----------
    request : Request
        For the scores of the clean images, whatever the copies would make the predicted class.
    explained : Explained
        Of the clean images.
    together : int
        Copies of the batch that are asked in one forward pass.
    is_apart : bool
        Whether each image is asked alone, as it cannot be seen whether the model mixes them.
    """

    request: Request
    explained: Explained
    together: int
    is_apart: bool = False

    @property
    def images(self) -> Array:
        """The clean images (N, C, *space)."""
        return self.request.network.tensors.to_numpy(self.request.batch)

    def of(self, copies: Iterable[Array]) -> Iterator[Array]:
        """Scores (N, K) of each changed copy (N, C, *space) of the batch, in order, asked several at a time."""
        pending = iter(copies)
        while several := list(islice(pending, self.together)):
            scores = self._asked(np.concatenate(several), len(several))
            yield from scores.reshape(len(several), -1, scores.shape[1])

    def _asked(self, images: Array, times: int) -> Array:
        request = self.request
        batch = request.network.tensors.from_numpy(images, request.batch)
        asked = replace(request, batch=batch, target=_repeated(request.target, times))
        found = plainly_explained(asked, is_apart=self.is_apart) if request.is_opaque else explained_scores(asked)
        scores = found.selection.scores
        if not np.isfinite(scores).all():
            raise NonFiniteError("the model's score of a changed image is NaN or infinite; choose another baseline")
        return scores


def answers(request: Request, *, batch_size: int | None) -> Answers:
    """Fix the explained scores, and find out how many images can be asked at once.

    Parameters
    ----------
    request : Request
        What to explain.
    batch_size : int or None
        Most images in one forward pass. None: as many as are quick, and one where it cannot be seen whether images mix.

    Raises
    ------
    SettingError
        `batch_size` is below 1.
    NotApplicableError
        The graph of derivatives was to be kept, or the model answers otherwise when it is asked twice.
    """
    most = _most_at_once(request, batch_size)
    if request.differentiable:
        raise NotApplicableError("answers to changed images have no derivative; use a method that has gradients")
    if request.is_opaque:
        explained = plainly_explained(request, is_apart=batch_size is None)
        refuse_probabilities(explained, request)
        refuse_unrepeatable(request, explained, is_apart=batch_size is None)
    else:
        explained = explained_scores(request)
    same = of_same_scores(request, explained)
    images = shape_of(request.batch)[0]
    together = max(1, most // images) if _is_repeatable(same.target, len(request.space)) else 1
    is_apart = request.is_opaque and batch_size is None
    is_unknown = together > 1 if images == 1 else request.is_opaque and not is_apart  # else the record shows it
    if is_unknown and _mixes(Answers(same, explained, 2 if together > 1 else 1)):
        if images > 1:
            raise MixedImagesError("its answers to changed images depend on the others in a batch")
        together = 1
    return Answers(same, explained, together, is_apart)


def _most_at_once(request: Request, batch_size: int | None) -> int:
    if batch_size is None:
        return 1 if request.is_opaque else AT_ONCE
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise SettingError(f"batch_size is a number of images, at least 1, got {batch_size!r}")
    return batch_size


def _mixes(pair: Answers) -> bool:
    """Whether a model answers otherwise where images of other statistics are beside each."""
    images = pair.images
    factors = 1 + np.arange(1, len(images) + 1).reshape(-1, *(1,) * (images.ndim - 1))
    other = (images * factors + 1).astype(images.dtype)
    try:
        together = np.array(list(pair.of([images, other])))
        apart = np.array([*replace(pair, together=1, is_apart=True).of([images, other])])
    except MixedImagesError:
        return True
    except Exception as error:  # noqa: BLE001 (whatever runtime the model belongs to: it may take one image only)
        del error
        return True
    return bool(np.abs(together - apart).max() > 1e-4 * max(float(np.abs(apart).max()), 1e-30))


def _is_repeatable(target: Target, space: int) -> bool:
    """Whether the target of a batch is known for several copies of it in one."""
    if isinstance(target, Mask):
        return np.ndim(target.mask) == space
    return type(target) in (SameScores, Probability)


def _repeated(target: Target, times: int) -> Target:
    return target.repeated(times) if isinstance(target, SameScores) else target
