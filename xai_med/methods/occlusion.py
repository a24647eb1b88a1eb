"""Occlusion: what the score loses when a patch of the image is replaced."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from xai_med.answers import answers
from xai_med.backend.tensors import Array
from xai_med.baselines import Baseline, baseline_images
from xai_med.checks import Check
from xai_med.errors import SettingError
from xai_med.masked import masked_scores
from xai_med.registry import register_method
from xai_med.request import Attribution, Request
from xai_med.verification import verify_again

_SHARE = 8  # patches along the image by default; half of each overlaps the next


@register_method(
    "occlusion",
    source="Zeiler, Fergus 2014, arXiv:1311.2901, section 2.2",
    cost="one forward pass per patch: 225 by default in two dimensions",
    needs="answers only",
    properties=("linear_in_target",),
    verification=verify_again("occlusion"),
    only_asks=True,
)
def occlusion(
    request: Request,
    *,
    patch: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    baseline: Baseline = 0.0,
    batch_size: int | None = None,
    progress: bool = False,
) -> Attribution:
    """Slide a patch over the image and take the mean fall of the score over the patches that cover a pixel.

    Parameters
    ----------
    request : Request
        What to explain.
    patch : int or sequence of int
        Size along each space axis; an eighth of the image by default.
    stride : int or sequence of int
        Step; half of the patch by default. The last patch ends where the image ends.
    baseline : number, str or array
        What a patch is replaced by (see `xai_med.baselines.baseline_images`). The map depends on it: what equals it
        cannot be seen.
    batch_size : int or None
        Most images in one forward pass; None: 32, and 1 for models whose operations cannot be seen, which may mix the
        images of a batch without anybody noticing.
    progress : bool
        Show a progress bar (needs tqdm).

    Returns
    -------
    Attribution
        `values` and `maps` (N, K, *space), in units of the score: positive where hiding lowers it.

    Raises
    ------
    SettingError
        A size that does not fit the image, or a stride above the patch, which would leave pixels unseen.
    """
    request.without_layer("occlusion")
    space = request.space
    sizes = _along_axes("patch", patch, [max(1, size // _SHARE) for size in space], space)
    steps = _along_axes("stride", stride, [max(1, size // 2) for size in sizes], sizes)
    asked = answers(request, batch_size=batch_size)
    images, tensors = asked.images, request.network.tensors
    windows = list(product(*(_windows(*each) for each in zip(space, sizes, steps, strict=True))))
    replacement = baseline_images(images, baseline)
    clean = asked.explained.selection.scores
    falls, covers = np.zeros((*clean.shape, *space)), np.zeros(space)
    scores = masked_scores(
        asked, replacement, _masks(windows, space), total=len(windows), what="occlusion", progress=progress
    )
    for window, score in zip(windows, scores, strict=True):
        np.moveaxis(falls, (0, 1), (-2, -1))[window] += clean - score  # a view
        covers[window] += 1
    values = tensors.from_numpy(falls / covers, request.batch)
    what = f"patches of {' x '.join(map(str, sizes))}, {' x '.join(map(str, steps))} apart"
    check = Check("patches that were hidden", float(len(windows)), note=what, key="patches")
    return Attribution(values, values, asked.explained, checks=(check,))


def _along_axes(
    name: str, given: int | Sequence[int] | None, default: Sequence[int], largest: Sequence[int]
) -> tuple[int, ...]:
    if given is None:
        return tuple(default)
    sizes = tuple(given) if isinstance(given, Sequence) else (given,) * len(largest)
    if len(sizes) != len(largest) or any(
        isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= most
        for size, most in zip(sizes, largest, strict=False)
    ):
        raise SettingError(f"{name} needs a size from 1 to {tuple(largest)} along each space axis, got {given!r}")
    return sizes


def _windows(size: int, patch: int, step: int) -> list[slice]:
    starts = [*range(0, size - patch, step), size - patch]
    return [slice(start, start + patch) for start in starts]


def _masks(windows: Sequence[tuple[slice, ...]], space: tuple[int, ...]) -> Iterator[Array]:
    for window in windows:
        mask = np.ones(space)
        mask[window] = 0
        yield mask
