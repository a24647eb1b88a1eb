"""Explains images by several methods and judges each map by several metrics."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from xai_med.answers import Answers, answers
from xai_med.backend.tensors import Array, shape_of
from xai_med.errors import SettingError, ShapeError, UnknownNameError, XaiMedError
from xai_med.evaluation.judges import JUDGES, Case, Judge
from xai_med.evaluation.result import Evaluation, Judgement
from xai_med.explanation import Explanation
from xai_med.front_door import ask_for, explain
from xai_med.metrics import Answer, mean_with_interval
from xai_med.portions import is_separable, of_images
from xai_med.progress import with_progress
from xai_med.same_scores import SameScores, joined_scores
from xai_med.targets import Target

Methods: TypeAlias = Sequence[str] | Mapping[str, Mapping[str, Any]]
"""Names; or a label for each row, with the arguments of `explain`, of which ``method`` is the label by default."""


def evaluate(
    model: Any,
    x: Any,
    *,
    methods: Methods,
    metrics: Sequence[str] = ("deletion", "insertion", "sparseness"),
    masks: Any = None,
    target: Any = None,
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool = False,
    **asked: Any,
) -> Evaluation:
    """Explain every image by every method and judge the maps.

    Parameters
    ----------
    model, x
        As for `xai_med.explain`.
    methods : sequence of str, or mapping of str to mapping
        Names; or a label for each row with settings: ``{"lrp, flat": {"method": "lrp", "composite": ...}}``.
    metrics : sequence of str
        Of `JUDGES`. Localisation tells how plausible a map is, and not whether the model looks there; deletion and its
        relatives leave the images that the model knows, and depend on the fill.
    masks : array-like of shape (N, *space) or (N, K, *space), bool
        Where what is explained lies; a metric that compares with it does not exist where it is empty.
    target : object
        As for `explain`; None is the predicted class.
    batch_size : int or None
        Most images in one forward pass of a metric; None: 32, and 1 for models whose operations cannot be seen.
    seed : int
        Of metrics that draw.
    progress : bool
        Show a progress bar (needs tqdm).
    **asked
        ``output``, ``activation``, ``class_names``, ``backend`` and ``dtype`` of `explain`.

    Returns
    -------
    Evaluation
        Methods that refuse the model are listed with their reason, and are no row of the table.

    Raises
    ------
    UnknownNameError
        No metric of this name.
    SettingError
        A metric needs masks that were not given, or nothing is to be done.
    ShapeError
        Masks of another shape.
    """
    if isinstance(metrics, str):
        raise SettingError(f"metrics is a sequence of names, got the one string {metrics!r}")
    judges = {name: _judge(name, masks) for name in metrics}
    chosen = _chosen(methods)
    if not judges or not chosen:
        raise SettingError("evaluate needs at least one method and one metric")
    request = ask_for(model, x, target="predicted" if target is None else target, **asked)
    number = shape_of(request.batch)[0]
    if number > 1 and not is_separable(request.target, number, len(request.space)):
        raise SettingError("a function of the output may hold numbers of all images; evaluate one image at a time")
    alone = [answers(of_images(request, n, n + 1), batch_size=batch_size) for n in range(number)]
    shape = (number, alone[0].explained.count)
    truth = _truth(masks, shape, request.space)
    explained, refused, seconds = _explained(model, x, chosen, _joined(alone, request.target), asked, progress=progress)
    cells = [(label, name) for label in explained for name in judges]
    judgements = []
    for label, name in with_progress(cells, total=len(cells), what="judging", shown=progress):
        values = _values(judges[name], explained[label], truth, alone, _again(model, chosen[label], asked), seed)
        whose = np.repeat(np.arange(number), shape[1])
        estimate = mean_with_interval(values.ravel(), groups=list(whose), seed=seed)
        judgements.append(Judgement(label, name, values, estimate, judges[name].better))
    return Evaluation(tuple(judgements), refused, *shape, next(iter(explained.values())).backend, seconds)


def _judge(name: str, masks: Any) -> Judge:
    if name not in JUDGES:
        near = get_close_matches(str(name), JUDGES, n=3)
        raise UnknownNameError(
            f"there is no metric {name!r}; {'did you mean ' + ', '.join(near) + '?' if near else ', '.join(JUDGES)}"
        )
    if JUDGES[name].needs_mask and masks is None:
        raise SettingError(f"metric {name!r} compares maps with masks; give masks=")
    return JUDGES[name]


def _chosen(methods: Methods) -> dict[str, dict[str, Any]]:
    if isinstance(methods, str):
        raise SettingError(f"methods is a sequence of names, got the one string {methods!r}")
    if isinstance(methods, Mapping):
        return {label: {"method": label, **settings} for label, settings in methods.items()}
    return {name: {"method": name} for name in methods}


def _truth(masks: Any, shape: tuple[int, ...], space: tuple[int, ...]) -> Array | None:
    if masks is None:
        return None
    given = np.asarray(masks)
    if given.shape == (shape[0], *space):
        given = np.broadcast_to(given[:, None], (*shape, *space))
    if given.shape != (*shape, *space):
        raise ShapeError(f"masks have shape {given.shape}; they must be {(shape[0], *space)} or {(*shape, *space)}")
    if given.dtype != bool and not np.isin(given, (0, 1)).all():
        raise SettingError("masks hold other values than 0 and 1; say which pixels belong to them, such as masks > 0.5")
    return given.astype(bool)


def _joined(alone: Sequence[Answers], target: Target) -> Target:
    """The scores of all images as one target; what is no weighing of logits as it was asked for."""
    targets = [each.request.target for each in alone]
    fixed = [target for target in targets if isinstance(target, SameScores)]
    return joined_scores(fixed) if len(fixed) == len(targets) else target


def _explained(
    model: Any,
    x: Any,
    chosen: Mapping[str, Mapping[str, Any]],
    target: Target,
    asked: Mapping[str, Any],
    *,
    progress: bool,
) -> tuple[dict[str, Explanation], dict[str, str], dict[str, float]]:
    """All maps, for the same scores; and who refused."""
    found: dict[str, Explanation] = {}
    refused: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for label in with_progress(chosen, total=len(chosen), what="explaining", shown=progress):
        start = time.perf_counter()
        try:
            found[label] = explain(model, x, target=target, keep_input=False, **{**asked, **chosen[label]})
        except XaiMedError as error:
            refused[label] = str(error)
            continue
        seconds[label] = time.perf_counter() - start
    if not found:
        raise SettingError(f"every method refused; the first said: {next(iter(refused.values()))}")
    return found, refused, seconds


def _again(model: Any, settings: Mapping[str, Any], asked: Mapping[str, Any]) -> Callable[..., Array]:
    """The map of one changed image, for one of the scores."""

    def explain_one(image: Array, target: Any, k: int) -> Array:
        found = explain(model, image[None], target=target, keep_input=False, **{**asked, **settings})
        return np.asarray(found.maps[0, k], dtype=np.float64)

    return explain_one


def _values(
    judge: Judge,
    explained: Explanation,
    truth: Array | None,
    alone: Sequence[Answers],
    again: Callable[..., Array],
    seed: int,
) -> Array:
    values = np.full(explained.maps.shape[:2], np.nan)
    for n, k in np.ndindex(*values.shape):
        target = alone[n].request.target
        case = Case(
            alone[n].images[0],
            explained.maps[n, k].astype(np.float64),
            None if truth is None else truth[n, k],
            _answer(alone[n], k),
            partial(again, target=target, k=k),
            seed,
        )
        values[n, k] = judge.measure(case)
    return values


def _answer(alone: Answers, k: int) -> Answer:
    def answer(images: Iterable[Array]) -> Array:
        return np.array([scores[0, k] for scores in alone.of(image[None] for image in images)])

    return answer
