"""The front door: one line for any method, any framework."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import xai_med
from xai_med.backend.framework import Inventory
from xai_med.backend.network import Backend, Network
from xai_med.backend.tensors import Array, Tensor
from xai_med.certificate import common_checks
from xai_med.errors import NonFiniteError, OpaqueModelError, SettingError, ShapeError, TargetError
from xai_med.explanation import Explanation
from xai_med.images_given import check_images, in_dtype, refuse_non_finite_input
from xai_med.logits import OutputChoice
from xai_med.maps.finite import count_non_finite
from xai_med.maps.resize import resize
from xai_med.method import Method
from xai_med.portions import explain_images
from xai_med.probabilities import probabilities
from xai_med.profiles import compared
from xai_med.registry import find_backend, get_backend, get_method
from xai_med.request import Request
from xai_med.running import running
from xai_med.target_words import as_target
from xai_med.targets import All

_MOST_CLASSES_BY_DEFAULT = 20  # methods that compare all classes ask before they compare a thousand


def explain(
    model: Any,
    x: Any,
    *,
    method: str = "cam",
    target: Any = None,
    layer: Any = None,
    backend: str | Backend | None = None,
    class_names: Sequence[str] | None = None,
    output: OutputChoice = None,
    activation: str | None = None,
    dtype: str | None = None,
    keep_input: bool = True,
    verify: bool = False,
    smoothing: str | None = None,
    profile: str | None = None,
    **settings: Any,
) -> Explanation:
    """Explain what a model answers for a batch of images.

    Parameters
    ----------
    model : torch.nn.Module, paddle.nn.Layer, or another backend's model
        Runs in evaluation mode; nothing of it is changed.
    x : tensor or ndarray of shape (N, C, *space), floating
        One, two or three space axes; as the model was trained on.
    method : str
        One of `xai_med.methods`; hyphens and capitals are forgiven.
    target : object
        A class index or name; a sequence of N, one per image; ``Classes(...)`` or an (N, K) array; ``"all"``;
        ``"predicted"``; ``"positive"`` or ``"negative"`` for one logit; a `Target`; or a function of the output.
        None means ``"predicted"``, except for methods that compare classes, which take all.
    layer : str, module, or sequence of such
        Where layer methods look; found from the trace by default, and recorded. The maps of several layers become
        one: each divided by its largest magnitude, then the mean.
    backend : str or Backend
        Found from the model by default.
    class_names : sequence of str
        One per output.
    output : str, int or callable
        Which part of a structured output holds the logits.
    activation : str
        ``"sigmoid"`` or ``"softmax"``: how logits become probabilities, where the model itself does not show it.
    dtype : str
        ``"float64"`` computes on a copy of the model in this precision.
    keep_input : bool
        Keep the images in the result, for pictures.
    verify : bool
        Check this very result by independent numbers too: the explained logits against a plain run of the model,
        the map against difference quotients of the score. Costs a copy of the model in double precision and about
        twenty forward passes; the checks are appended to `checks`, and a wrong result is refused.
    smoothing : str
        Average over copies of the image, for its own scores: ``"flips"`` (mirrored along the last axis, and back),
        ``"scales"`` (values times 0.9, 1 and 1.1) or ``"flips_and_scales"``. Mirroring exchanges left and right.
    profile : str
        Another library's conventions: ``"captum"``, ``"pytorch_grad_cam"``, ``"torchcam"``, ``"monai"``,
        ``"interpretdl"``, ``"zennit"`` (see `xai_med.profiles.PROFILES`). Settings that it implies are taken, and
        ``extras[profile]`` holds the array that the library would return, (N, K, ...); `maps` stay raw and signed.
    **settings
        Of the method.

    Returns
    -------
    Explanation
        Frozen; `maps` (N, K, *space) float32, signed and raw.

    Raises
    ------
    XaiMedError
        Whatever would make the map wrong, or the question ambiguous; see `xai_med.errors`.
    """
    if not isinstance(verify, bool):
        raise SettingError(f"verify is True or False, got {verify!r}")
    layer, layers = (None, _names_of(model, layer, backend)) if isinstance(layer, list | tuple) else (layer, None)
    comparison = None if profile is None else compared(profile, method)
    if comparison is not None:
        comparison.refuse_combined(layers=layers, smoothing=smoothing)
        target, settings = comparison.target(target), comparison.settings(settings, check_images(x))
    chosen, request, given, inventory = _request(
        model, x, method, target, layer, backend, class_names, output, activation, dtype, settings, afresh=verify
    )
    run = running(chosen, settings, layers=layers, smoothing=smoothing, verify=verify)
    attribution = explain_images(run, request, cells_at_once=None if verify else chosen.cells_at_once)
    tensors = request.network.tensors
    maps = tensors.to_numpy(attribution.maps)
    if maps.ndim != 2 + len(request.space):
        raise ShapeError(
            f"{chosen.name} gave maps of shape {maps.shape} for {len(request.space)} space axes; report this"
        )
    _refuse_non_finite(maps, chosen.name)
    precise = maps.astype(np.promote_types(maps.dtype, np.float32), copy=False)
    resized = resize(precise, request.space).astype(np.float32, copy=False)
    values, images = tensors.to_numpy(attribution.values), tensors.to_numpy(request.batch)
    for array in (resized, values, images):
        array.setflags(write=False)  # what is locked already is not copied once more
    selection = attribution.explained.selection
    explanation = Explanation(
        maps=resized,
        attribution=values,
        scores=selection.scores,
        probabilities=probabilities(attribution),
        targets=selection.labels,
        class_indices=selection.indices,
        method=chosen.name,
        settings={**chosen.settings, **settings, **({} if smoothing is None else {"smoothing": smoothing})},
        layer=attribution.layer,
        rules=attribution.rules,
        backend=given.name,
        versions={"xai_med": xai_med.__version__, "numpy": np.__version__, **request.network.versions()},
        dtype=tensors.dtype(request.batch),
        checks=(*attribution.checks, *common_checks(resized, images, attribution, inventory)),
        activation=attribution.explained.activation,
        source=chosen.source,
        input=images.astype(np.float32, copy=False) if keep_input else None,
        extras=attribution.extras,
    )
    return explanation if comparison is None else comparison.completed(explanation, attribution.explained)


def attribute(
    model: Any,
    x: Any,
    *,
    method: str = "cam",
    target: Any = None,
    layer: Any = None,
    backend: str | Backend | None = None,
    output: OutputChoice = None,
    activation: str | None = None,
    dtype: str | None = None,
    differentiable: bool = False,
    **settings: Any,
) -> Tensor:
    """Return the attribution where it arises, as a native tensor.

    Parameters
    ----------
    model, x, method, target, layer, backend, output, activation, dtype, **settings
        As in `explain`.
    differentiable : bool
        Keep the graph back to the model's parameters, as gaze-supervised training needs.

    Returns
    -------
    tensor
        (N, K, C, *space) at the input, before channels are pooled; (N, K, *layer space) for CAM methods, neither
        resized nor normalised.

    Raises
    ------
    XaiMedError
        As in `explain`.
    """
    chosen, request, *_ = _request(model, x, method, target, layer, backend, None, output, activation, dtype, settings)
    if differentiable and dtype is not None:
        raise SettingError("dtype= computes on a copy of the model, whose parameters are not the caller's")
    asked = replace(request, differentiable=differentiable)
    return explain_images(lambda one: chosen(one, settings), asked, cells_at_once=chosen.cells_at_once).values


def ask_for(
    model: Any,
    x: Any,
    *,
    target: Any,
    backend: str | Backend | None = None,
    class_names: Sequence[str] | None = None,
    output: OutputChoice = None,
    activation: str | None = None,
    dtype: str | None = None,
) -> Request:
    """The question behind `explain`, for those who only want the model's answers.

    Parameters
    ----------
    model, x, target, backend, class_names, output, activation, dtype
        As in `explain`.

    Raises
    ------
    XaiMedError
        As in `explain`.
    """
    # of any method that only asks
    return _request(model, x, "occlusion", target, None, backend, class_names, output, activation, dtype, {})[1]


def _request(
    model: Any,
    x: Any,
    method: str,
    target: Any,
    layer: Any,
    backend: str | Backend | None,
    class_names: Sequence[str] | None,
    output: OutputChoice,
    activation: str | None,
    dtype: str | None,
    settings: Mapping[str, Any],
    *,
    afresh: bool = False,
) -> tuple[Method, Request, Backend, Inventory | None]:
    chosen = get_method(method)
    if activation not in (None, "sigmoid", "softmax"):
        raise SettingError(f"activation is 'sigmoid' or 'softmax', got {activation!r}")
    if isinstance(class_names, str):
        raise SettingError("class_names is a sequence of names, got one string")
    asked = as_target(chosen.default_target if target is None else target)
    if backend is None:
        found = find_backend(model)
    else:
        found = get_backend(backend) if isinstance(backend, str) else backend
    network = found.network(model)
    check_images(x)
    inventory = _looked_at(network, chosen, afresh=afresh)
    if dtype is not None:
        if layer is not None:
            layer = network.find_layer(layer)[1]  # the copy has other modules under the same names
        network, x = in_dtype(network, x, dtype)
    batch = network.batch(x)
    refuse_non_finite_input(batch, network)
    request = Request(
        network=network,
        batch=batch,
        target=_Bounded() if target is None and chosen.default_target == "all" else asked,
        layer=layer,
        output=output,
        class_names=None if class_names is None else tuple(str(name) for name in class_names),
        activation=activation,
        is_opaque=inventory is None,
    )
    unknown = set(settings) - set(chosen.settings)
    if unknown:
        chosen(request, settings)  # raises, naming the settings that exist
    return chosen, request, found, inventory


def _names_of(model: Any, layers: Sequence[Any], backend: str | Backend | None) -> list[str]:
    """Dotted names, which hold for a copy of the model too."""
    found = find_backend(model) if backend is None else backend
    network = (get_backend(found) if isinstance(found, str) else found).network(model)
    return [network.find_layer(layer)[1] for layer in layers]


def _looked_at(network: Network, method: Method, *, afresh: bool) -> Inventory | None:
    """Refuse what cannot be explained; a model whose operations cannot be seen may still be asked: None."""
    try:
        return network.check(afresh=afresh)
    except OpaqueModelError as error:
        if not method.only_asks:
            raise OpaqueModelError(
                f"{error}; methods that only ask a model for its answers explain it as it is: occlusion, rise, lime, "
                f"kernel_shap, and score_cam with features="
            ) from None
    return None


class _Bounded(All):
    """All classes where no target was given, but not by the hundred."""

    def select(self, context: Any) -> Any:
        """Select all classes of a model with few."""
        if context.classes > _MOST_CLASSES_BY_DEFAULT:
            raise TargetError(
                f"the model has {context.classes} classes; name the ones to compare with target=Classes(...), "
                f"or say target='all'"
            )
        return super().select(context)


def _refuse_non_finite(maps: Array, method: str) -> None:
    bad = count_non_finite(maps)
    if bad:
        raise NonFiniteError(
            f"the {method} map holds {bad} NaN or infinite values; the model's precision does not suffice for its "
            f"gradients: try dtype='float64'"
        )
