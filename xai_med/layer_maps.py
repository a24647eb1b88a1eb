"""Maps made of a layer's features and of the score's gradient there: what Grad-CAM and its relatives share."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from xai_med.backend.network import Trace
from xai_med.backend.numpy_tensors import NUMPY
from xai_med.backend.places.locate import Locator
from xai_med.backend.places.tokens import before_moves, token_features
from xai_med.backend.pooling import leaves_space
from xai_med.backend.record import Node
from xai_med.backend.start import AtLayer, AtPool
from xai_med.backend.tensors import Tensor, Tensors, shape_of
from xai_med.checks import Check
from xai_med.errors import LayerError
from xai_med.request import Attribution, Explained, Request
from xai_med.verification import Claim, agreement_check, in_double, score_from, slope_checks, where_possible

Formula: TypeAlias = Callable[[Tensor, Tensor, Tensors], Tensor]
"""Features and the gradient of one score, both (N, C, *layer space), to its signed map (N, *layer space)."""

COST = "one forward pass, and per class one pullback from the layer on"
"""Of every method that is a formula, for its card."""

# of the signed map's largest value: what float32 loses where the terms of the sum over channels cancel
_ROUNDING = {"float64": 1e-9, "float32": 1e-3}


def space_axes(features: Tensor) -> tuple[int, ...]:
    """Positions of the space axes of (N, C, *layer space)."""
    return tuple(range(2, len(shape_of(features))))


def weighed(features: Tensor, weights: Tensor, tensors: Tensors) -> Tensor:
    """Sum of channels (N, C, *layer space), each times its weight (N, C)."""
    return tensors.einsum("nc...,nc->n...", features, weights)


def map_at_layer(request: Request, formula: Formula, *, relu: bool) -> Attribution:
    """Apply a formula to a layer's features and to the gradient of each score.

    Parameters
    ----------
    request : Request
        `layer` None takes the tensor that enters the global pool, else the last one with space axes. Where nothing
        but a class token leaves a transformer's last block it takes the input of the last attention, behind which
        no token of the image has a gradient.
    formula : callable
        Of one score.
    relu : bool
        Keep only the map's positive part, and count maps without any.

    Returns
    -------
    Attribution
        `values` of shape (N, K, *layer space), in units of the score per cell; `maps` the same, resized to the image
        where the layer's cells do not divide it evenly.

    Raises
    ------
    LayerError
        No layer with space axes was found or named, or no gradient reaches any place of it.
    """
    with request.features(uneven=True) as trace:
        explained = request.explained(trace)
        node = captured_node(request, explained, trace)
        tensors, features = trace.tensors, trace.captured
        fixed = features if request.differentiable else tensors.stop_gradient(features)
        maps = tensors.stack([formula(fixed, slope, tensors) for slope in _gradients(request, explained, trace)], 1)
        checks: tuple[Check, ...] = ()
        if relu:
            maps = tensors.relu(maps)
            checks = (without_evidence(tensors.to_numpy(maps)),)
        placed = maps
        if trace.lattice is not None and not trace.lattice.is_even:
            placed = trace.lattice.placed(maps, request.space, tensors)
        return Attribution(maps, placed, explained, layer=layer_name(request, node, trace), checks=checks)


def formula_verification(
    formula_of: Callable[[Mapping[str, Any]], Formula],
) -> Callable[[Request, Attribution, Mapping[str, Any]], tuple[Check, ...]]:
    """Verification of a method that is a formula, for ``register_method(verification=)``.

    Parameters
    ----------
    formula_of : callable
        From the method's settings to its formula; a setting ``relu`` is one of them.

    Returns
    -------
    callable
        Compares the map with the formula in double precision, and the gradients in it with difference quotients.
    """

    def verify(request: Request, attribution: Attribution, settings: Mapping[str, Any]) -> tuple[Check, ...]:
        tensors, double = request.network.tensors, in_double(request, attribution.explained)
        with where_possible(), double.features(uneven=True) as trace:
            explained = double.explained(trace)
            pulled = trace.pullback(explained.selection.outputs, double.cotangents(explained, trace), trace.captured)
            gradients = np.stack([tensors.to_numpy(gradient) for gradient in pulled], axis=1)
            features, node, lattice = tensors.to_numpy(trace.captured), trace.captured_node, trace.lattice
        start: AtLayer | AtPool = AtPool(None if node is None else node.index, lattice)
        if double.layer is not None:
            start = AtLayer(*double.network.find_layer(double.layer), lattice)
        claim = Claim(score_from(double, start), features, features, gradients, "float64")
        slopes = slope_checks(claim, what="gradient at the layer")
        formula = formula_of(settings)
        expected = np.stack([formula(features, slope, NUMPY) for slope in np.moveaxis(gradients, 1, 0)], axis=1)
        sizes = np.abs(expected).reshape(*expected.shape[:2], -1).max(axis=2)
        if settings["relu"]:
            expected = np.maximum(expected, 0)
        maps = tensors.to_numpy(attribution.values)
        tolerance = _ROUNDING.get(tensors.dtype(attribution.maps), 0.1)
        what = "map, against its formula in double precision"
        return *slopes, agreement_check(maps, expected, tolerance, what=what, key="recomputed", sizes=sizes)

    return verify


def layer_name(request: Request, node: Node, trace: Trace) -> str:
    """What the layer is called whose features were captured."""
    if request.layer is not None:
        return str(request.network.find_layer(request.layer)[1])
    return trace.layer_name(node if trace.lattice is None else before_moves(node))


def captured_node(request: Request, explained: Explained, trace: Trace) -> Node:
    """Where the features were made.

    Raises
    ------
    LayerError
        Nowhere, or in several places side by side, or of complex numbers.
    """
    if trace.captured is None or trace.captured_node is None:
        raise LayerError(
            "no tensor with the image's space axes was found on the way to the output; name one with layer="
        )
    if trace.tensors.dtype(trace.captured).startswith("complex"):
        raise LayerError("the features are complex numbers, of which none is larger; name another layer with layer=")
    if request.layer is None and trace.lattice is None:
        _refuse_several(explained.logits.node, trace.captured_node, trace)
    return trace.captured_node


def _gradients(request: Request, explained: Explained, trace: Trace) -> Iterator[Tensor]:
    """Of each score, one after the other, so that none is kept longer than it is needed."""
    asks_places = request.layer is not None and trace.lattice is not None
    arrives = False
    for gradient in trace.pullback(
        explained.selection.outputs,
        request.cotangents(explained, trace),
        trace.captured,
        differentiable=request.differentiable,
    ):
        arrives = arrives or (asks_places and bool(trace.tensors.to_numpy(gradient).any()))
        yield gradient
    if asks_places and not arrives:
        _refuse_behind_places(request, explained.logits.node, trace)


def without_evidence(maps: Any) -> Check:
    """Count rectified maps (N, K, *space) that are zero everywhere."""
    flat = (maps == 0).reshape(*shape_of(maps)[:2], -1).all(axis=2)
    return Check(
        "maps without positive evidence",
        float(flat.sum()),
        is_count=True,
        key="no_positive_evidence",
        out_of=flat.size,
    )


def _refuse_behind_places(request: Request, logits: Node, trace: Trace) -> None:
    """Refuse a layer of tokens of which only those go on that lie nowhere in the image."""
    last = token_features(logits, Locator(trace, request.batch), trace)
    if last is not None and trace.captured_node is not None and last.index < trace.captured_node.index:
        raise LayerError(
            f"the score has no gradient at any place of this layer: behind it only a class token goes on to the "
            f"output; choose a layer before the last attention, such as {trace.layer_name(before_moves(last))!r}, "
            f"which is what is taken without layer="
        )


def _refuse_several(logits: Node, captured: Node, trace: Trace) -> None:
    """Refuse to choose where several branches with space axes feed the output side by side."""
    above = {node.index for node in captured.ancestors()}
    for node in logits.ancestors():
        if not leaves_space(node) or node.index in above:
            continue
        feeding = node.parents[0]
        if captured not in feeding.ancestors():
            raise LayerError(
                f"several tensors with space axes feed the output side by side, among them those of "
                f"{trace.layer_name(captured)!r} and {trace.layer_name(feeding)!r}; name one with layer="
            )
