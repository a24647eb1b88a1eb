"""Excitation backpropagation: the probability that a walk from the output, along what excites, ends at a pixel."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from xai_med.backend.network import Trace
from xai_med.backend.operations import Kind
from xai_med.backend.record import Node
from xai_med.backend.start import AtInput
from xai_med.backend.tensors import Array, Tensor, Tensors
from xai_med.checks import Check
from xai_med.errors import IdentityError, NotApplicableError
from xai_med.method import CELLS_AT_ONCE
from xai_med.registry import register_method
from xai_med.relevance import Propagated, lost_share, propagated, verify_propagated
from xai_med.request import Attribution, Explained, Request
from xai_med.rules import Composite, ContrastiveExcitation, noting_signs, signs_check
from xai_med.rules import excitation_backprop as excitation

_SMALLEST = 1e-30  # of a logit: its inverse, with which the way back begins, must not overflow float32
_LOSSES = "lost at units that nothing excites, such as a class for which no weight above zero speaks"
_MOVING = frozenset({Kind.RESHAPE, Kind.PERMUTE, Kind.ROUTING, Kind.DROPOUT})


def verify_excitation(request: Request, attribution: Attribution, settings: Mapping[str, Any]) -> tuple[Check, ...]:
    """Compare probabilities with difference quotients by the probe of the logit, as a multiple of itself.

    Parameters
    ----------
    request, attribution : Request, Attribution
        The question and the result.
    settings : mapping
        Of the method.
    """
    rules, explained = _rules(request, contrastive=settings["contrastive"]), attribution.explained
    starts = 1 / explained.selection.scores
    return verify_propagated(request, attribution.values, attribution.maps, explained, rules, starts=starts)


@register_method(
    "excitation_backprop",
    source="Zhang et al. 2016, arXiv:1608.00507, equation 5; contrastive: section 3.4",
    cost="about two forward passes (three if contrastive), and per class one pullback to the input",
    needs="no products of signals, such as gates and attention, on the way; activations nowhere negative",
    properties=("mirror_equivariant", "non_negative"),
    verification=verify_excitation,
    cells_at_once=CELLS_AT_ONCE,
)
def excitation_backprop(request: Request, *, contrastive: bool = False) -> Attribution:
    """Share out probability 1 of an output unit, layer by layer, in proportion to what excites each unit.

    Parameters
    ----------
    request : Request
        Targets must be classes.
    contrastive : bool
        Subtract the map of the dual unit, whose weights in the layer of the classes are the negated ones.

    Returns
    -------
    Attribution
        `values` (N, K, C, *space): marginal winning probabilities of pixels, nowhere negative, with sum 1 less what
        got lost at units that nothing excites; contrastive: differences of two such, signed (the paper shows their
        positive part). `maps`: their sums over channels.

    Raises
    ------
    NotApplicableError
        The target is no class, its logit is zero, or the model adds constants that take or give shares; contrastive:
        no single layer gives the logits.
    UnsupportedOperationError
        An operation on the way has no rule; it is named.
    """
    rules, signed = noting_signs(_rules(request, contrastive=contrastive))
    found = propagated(request, rules, method="excitation_backprop", seeds=_from_one)
    tensors = request.network.tensors
    maps, scores = tensors.to_numpy(found.maps), found.explained.selection.scores
    arrived = _difference(maps) if contrastive else lost_share(maps, np.ones_like(scores), 0.0, note=_LOSSES)
    _refuse_constants(found.explained.logits.node)
    if not contrastive:
        _refuse_negative(found, tensors)
    checks = (arrived, found.operations, signs_check(signed))
    return Attribution(found.values, found.maps, found.explained, checks=checks, rules=rules.describe())


def _rules(request: Request, *, contrastive: bool) -> Composite:
    rules = excitation()
    if not contrastive:
        return rules
    top = _depth_of_the_classes(request)
    return rules.layers(top, top + 1, ContrastiveExcitation())


def _depth_of_the_classes(request: Request) -> int:
    """Number of the one layer with weights whose outputs are the logits, but for their arrangement."""
    plain = Composite("plain", {}, frozenset(Kind))  # under rules, even these, operations with weights are numbered
    with request.network.trace(request.batch, start=AtInput(probed=True), rules=plain) as trace:
        node: Node = request.explained(trace).logits.node
    while node.depth is None and node.kind in _MOVING and len(node.parents) == 1:
        node = node.parents[0]
    if node.depth is None:
        raise NotApplicableError(
            f"contrastive excitation backprop needs logits that a layer with weights gives, whose negated weights are "
            f"the dual units; here they come of {node.name}"
        )
    return node.depth


def _from_one(explained: Explained, trace: Trace) -> Iterator[Tensor]:
    """Begin with 1 at the unit of each class, whatever its logit is."""
    coefficients, scores = explained.coefficients("excitation_backprop"), explained.selection.scores
    if not ((coefficients == 1).sum(axis=2) == 1).all() or (coefficients != 0).sum() != scores.size:
        raise NotApplicableError(
            f"excitation backprop begins at one output unit, not at {explained.selection.labels[0][0]!r}; choose "
            f"classes, or 'positive' for a single logit, or use method='lrp'"
        )
    if (np.abs(scores) < _SMALLEST).any():
        raise NotApplicableError("a logit is zero, and what its unit is worth cannot be told in proportion to it")
    for k, cotangent in enumerate(explained.selection.cotangents):
        yield trace.tensors.from_numpy(cotangent / scores[:, k, None], explained.selection.outputs)


def _refuse_constants(logits: Node) -> None:
    """Refuse a sum with a constant, which would take a share of what is no probability then."""
    for node in logits.ancestors(carrying_only=True):
        if node.kind is Kind.ADD and sum(parent.is_differentiable for parent in node.parents) == 1:
            raise NotApplicableError(
                f"{node.name} adds a constant to a signal, for which excitation backprop has no rule; where that "
                f"normalises the image, put it outside the model, or use method='lrp'"
            )


def _refuse_negative(found: Propagated, tensors: Tensors) -> None:
    values = tensors.to_numpy(found.values)
    if values.min() < -1e-6 * np.abs(values).max():
        raise IdentityError("a winning probability is negative, which no rule allows; report it, with the model")


def _difference(maps: Array) -> Check:
    """What is left of both probabilities' sums, which begin with 1 each."""
    sums = maps.astype(np.float64).reshape(*maps.shape[:2], -1).sum(axis=2)
    note = "of the unit less of its dual; 0 where neither lost anything"
    return Check("sum of winning probabilities", float(sums.flat[np.abs(sums).argmax()]), note=note, key="sum")
