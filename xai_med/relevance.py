"""What is handed back from an output to the image by rules: the mechanics of LRP and of excitation backpropagation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

import numpy as np

from xai_med.backend.network import Trace
from xai_med.backend.operations import WEIGHTED
from xai_med.backend.placed import Placed
from xai_med.backend.record import Node
from xai_med.backend.start import AtInput
from xai_med.backend.tensors import Array, Tensor, precision
from xai_med.checks import Check
from xai_med.covered import refuse_uncovered
from xai_med.errors import LayerError, NotApplicableError
from xai_med.request import Explained, Request
from xai_med.rules import Composite, counted, operations_check
from xai_med.verification import Claim, Objective, agreement_check, frozen, in_double, score_from, slope_checks

Seeds: TypeAlias = Callable[[Explained, Trace], Iterator[Tensor]]
"""What is sent back from the outputs, one cotangent for each explained score."""


@dataclass(frozen=True, eq=False)
class Propagated:
    """What arrived at the image.

    Parameters
    ----------
    explained : Explained
        The scores.
    values : tensor of shape (N, K, C, *space)
        Native.
    maps : tensor of shape (N, K, *space)
        Their sums over channels.
    operations : Check
        Which rule met which operations.
    """

    explained: Explained
    values: Tensor
    maps: Tensor
    operations: Check


def propagated(request: Request, rules: Composite, *, method: str, seeds: Seeds | None = None) -> Propagated:
    """Run the model once under rules, and hand back what the outputs start with.

    Parameters
    ----------
    request : Request
        Targets must be linear in the logits.
    rules : Composite
        Which rule for which operation.
    method : str
        For messages.
    seeds : callable or None
        Derivative of each start by the outputs; of the scores themselves by default.

    Raises
    ------
    SettingError
        A layer was asked for.
    UnsupportedOperationError
        An operation on the way has no rule; it is named.
    LayerError
        A rule is placed where there is nothing for it.
    NotApplicableError
        The composite has a rule for the first layer, and no layer with weights reads the image itself.
    """
    request.without_layer(method)
    if request.differentiable:
        raise NotApplicableError(
            f"what {method} hands back is defined with fixed denominators and is not differentiable"
        )
    watched, met = counted(rules)
    with request.network.trace(request.batch, start=AtInput(probed=True), rules=watched) as trace:
        explained = request.explained(trace)
        explained.coefficients(method)
        refuse_uncovered(explained.logits.node, trace, rules.name)
        _refuse_idle_rules(explained.logits.node, trace, watched)
        cotangents = (request.cotangents if seeds is None else seeds)(explained, trace)
        arriving = trace.pullback(explained.selection.outputs, cotangents, trace.captured)
        values = trace.tensors.collect(arriving, explained.count, 1)
        operations = operations_check(explained.logits.node, met, merges_batch_norm=rules.merges_batch_norm)
        return Propagated(explained, values, trace.tensors.sum(values, (2,)), operations)


def verify_propagated(
    request: Request, values: Tensor, maps: Tensor, explained: Explained, rules: Composite, *, starts: Array | float
) -> tuple[Check, ...]:
    """Compare what arrived with difference quotients by the probe, under rules whose fixed parts stay fixed.

    Parameters
    ----------
    request : Request
        The question.
    values, maps : tensor
        The answer, (N, K, C, *space) and (N, K, *space).
    explained : Explained
        The scores.
    rules : Composite
        In force.
    starts : ndarray of shape (N, K) or float
        What each score's own way back started with, per unit of the score.
    """
    tensors = request.network.tensors
    dtype = tensors.dtype(values)
    found, summed = (tensors.to_numpy(t).astype(np.float64) for t in (values, maps))
    read = agreement_check(summed, found.sum(axis=2), 256 * precision(dtype), what="sum over channels", key="read_out")
    fixed, parts = frozen(rules)
    double = in_double(request, explained)
    score: Objective = score_from(double, AtInput(probed=True), fixed)

    def start_with_fixed_parts(displacement: Array) -> Array:
        reached = score(displacement)
        parts.rewind()
        return np.asarray(reached * starts)

    images = tensors.to_numpy(double.batch)
    claim = Claim(start_with_fixed_parts, np.ones_like(images), images, found, dtype)
    return read, *slope_checks(claim, what="relevance")


def lost_share(maps: Array, starts: Array, epsilon: float, *, note: str) -> Check:
    """How much of each start did not arrive: 1 - sum of relevance / start, the largest over images and classes.

    Parameters
    ----------
    maps : ndarray of shape (N, K, *space)
        What arrived.
    starts : ndarray of shape (N, K)
        What it began with.
    epsilon : float
        Stabiliser.
    note : str
        Where shares go under the rules.
    """
    arrived = maps.astype(np.float64).reshape(*maps.shape[:2], -1).sum(axis=2)
    share = 1 - arrived / np.where(starts == 0, 1, starts)
    worst = share.flat[np.abs(share).argmax()]
    if (np.abs(starts) < 1e3 * epsilon).any():
        note += f"; a score is so small that the stabiliser {epsilon:g} itself absorbs part of it: lower epsilon"
    return Check("lost share of relevance", float(worst), note=note, key="lost_share")


def _refuse_idle_rules(logits: Node, trace: Trace, rules: Composite) -> None:
    """Refuse a rule for the first layer, or for some place, that no operation on the way to the logits got."""
    if rules.first is not None:
        _refuse_unused_first_rule(logits, rules)
    if not rules.placed:
        return
    on_the_way = [node for node in logits.ancestors(carrying_only=True) if node.parents]
    for placed in rules.placed:
        if not any(node.placed is placed for node in on_the_way):
            raise LayerError(_why_idle(placed, on_the_way, trace))
        _refuse_missing_depths(placed, on_the_way)


def _why_idle(placed: Placed, on_the_way: list[Node], trace: Trace) -> str:
    meant = [node for node in on_the_way if node.kind in placed.kinds]
    if any(placed.holds(node.kind, trace.layer_name(node), node.depth) for node in meant):
        return (
            f"{placed.rule.name} {placed.where} is applied to nothing: all that is meant has the rule of the first "
            f"layer, that of a later place, or is merged with the layer before; leave it out, or add it last"
        )
    kinds = " or ".join(sorted(kind.value for kind in placed.kinds))
    if placed.pattern is None:
        return f"{placed.rule.name} {placed.where} is applied to nothing: {_numbered(on_the_way)}"
    names = list(dict.fromkeys(trace.layer_name(node) for node in reversed(meant)))
    near = get_close_matches(placed.pattern, names, n=3, cutoff=0.3) or names[:3]
    hint = f"there are {', '.join(map(repr, near))}" if near else "there is none at all"
    return (
        f"{placed.rule.name} {placed.where} is applied to nothing: no {kinds} on the way to the logits runs in a layer "
        f"of such a name; {hint}"
    )


def _refuse_missing_depths(placed: Placed, on_the_way: list[Node]) -> None:
    stop = None if placed.depths is None else placed.depths[1]
    depths = {node.depth for node in on_the_way if node.depth is not None}
    if stop is not None and stop - 1 > max(depths):
        raise LayerError(
            f"{placed.rule.name} {placed.where} goes beyond the model: {_numbered(on_the_way)}; give None for the last"
        )


def _numbered(on_the_way: list[Node]) -> str:
    depths = sorted({node.depth for node in on_the_way if node.depth is not None and node.kind in WEIGHTED})
    return f"on the way to the logits are layers {depths[0]} to {depths[-1]}" if depths else "there are no weights"


def _refuse_unused_first_rule(logits: Node, rules: Composite) -> None:
    """Refuse a rule for the first layer where another operation stands between the image and the first weights."""
    readers = [node for node in logits.ancestors() if any(not parent.parents for parent in node.parents)]
    if rules.first is not None and not any(node.kind in WEIGHTED for node in readers):
        names = ", ".join(dict.fromkeys(node.name for node in readers))
        raise NotApplicableError(
            f"the composite {rules.name!r} has a rule for the layer that reads the image, {rules.first.name}, but the "
            f"image goes through {names} first; put that outside the model, or use composite='epsilon_plus'"
        )
