"""Adebayo's sanity check on a whole model: whether maps notice that the model forgot what it learned."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xai_med.backend.tensors import Array, shape_of
from xai_med.errors import ModelError, SettingError
from xai_med.front_door import ask_for, explain
from xai_med.metrics import SanityCurve, layers_top_down, randomised_weights, sanity_curve
from xai_med.metrics.sanity import Randomisation
from xai_med.metrics.similarity import Similarity
from xai_med.registry import find_backend, get_backend
from xai_med.repeated import explained_scores
from xai_med.same_scores import of_same_scores

_OF_THE_QUESTION = ("activation", "class_names", "dtype", "output")


def sanity_check(
    model: Any,
    x: Any,
    *,
    method: str,
    target: Any = None,
    kind: Similarity = "ssim",
    randomisation: Randomisation = "cascading",
    stages: Sequence[str] | None = None,
    seed: int = 0,
    **settings: Any,
) -> SanityCurve:
    """Lose the model's weights layer by layer from the top and compare the first image's map with the trained one.

    Parameters
    ----------
    model
        Of a framework; copies of it lose their weights, it keeps its own.
    x : tensor or ndarray of shape (N, C, *space)
        The first image is followed; the others' maps are the baseline, so that there must be at least three.
    method : str
        To be checked.
    target : object
        As for `explain`; the same scores are explained at every stage.
    kind : "spearman", "spearman_abs", "ssim" or "hog"
        See `xai_med.metrics.similarity`.
    randomisation : "cascading" or "independent"
        Losing layers from the top on, or one layer each.
    stages : sequence of str
        Names of layers, top first; all by default, in the reverse order of the model's state.
    seed : int
        Of the drawn weights.
    **settings
        Of the method, and of `explain`.

    Returns
    -------
    SanityCurve
        Similarity at each stage, the baseline of random pairs, and the verdict.

    Raises
    ------
    SettingError
        Fewer than three images, or no such layer.
    ModelError
        The model's weights cannot be read.
    """
    backend = find_backend(model)
    arrays = _arrays(model)
    layers = layers_top_down(list(arrays))
    chosen = list(layers) if stages is None else list(stages)
    missing = [name for name in chosen if name not in layers]
    if missing:
        raise SettingError(f"the model's state has no layer {missing[0]!r}; it has {', '.join(layers)}")
    if shape_of(x)[0] < 3:
        raise SettingError(f"the baseline needs maps of other images, at least two; {shape_of(x)[0]} images were given")
    if settings.get("features") is not None:
        raise SettingError("features= stay the trained model's at every stage; remove them")
    if settings.get("layer") is not None:
        settings["layer"] = backend.network(model).find_layer(settings["layer"])[1]  # copies have other modules
    asked = {name: settings[name] for name in _OF_THE_QUESTION if name in settings}
    request = ask_for(model, x, target="predicted" if target is None else target, **asked)
    explained = explained_scores(request)
    if explained.count != 1:
        raise SettingError(f"one score is followed, and {explained.count} were asked for; give one class")
    same = of_same_scores(request, explained).target
    trained = explain(model, x, method=method, target=same, keep_input=False, **settings).maps[:, 0]
    maps = []
    for index, name in enumerate(chosen):
        lost = chosen[: index + 1] if randomisation == "cascading" else [name]
        forgetful = copy.deepcopy(model)
        names = [array for layer in lost for array in layers[layer]]
        get_backend(backend.name).load_weights(forgetful, randomised_weights(arrays, names, seed=seed).arrays)
        maps.append(explain(forgetful, x, method=method, target=same, keep_input=False, **settings).maps[0, 0])
    return sanity_curve(
        trained[0], maps, stages=chosen, others=list(trained[1:]), kind=kind, randomisation=randomisation, seed=seed
    )


def _arrays(model: Any) -> Mapping[str, Array]:
    """Every array of the model's state, by name."""
    tensors = find_backend(model).tensors
    try:
        state = model.state_dict()
    except AttributeError as error:
        raise ModelError(f"a {type(model).__name__} has no state_dict(), so that its weights cannot be lost") from error
    return {name: np.array(tensors.to_numpy(tensor)) for name, tensor in state.items()}
