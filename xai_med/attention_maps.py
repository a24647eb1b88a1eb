"""Maps made of a transformer's attention weights: what attention rollout and gradient-weighted attention share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from xai_med.backend.network import Trace
from xai_med.backend.operations import Kind
from xai_med.backend.places.attention import INSTEAD, AttentionLayer, AttentionStack, find_attention, leads_around
from xai_med.backend.places.reading import Reading, find_reading, refuse_ways_around
from xai_med.backend.places.tokens import before_moves
from xai_med.backend.record import Node
from xai_med.backend.rule import Composite
from xai_med.backend.start import AtInput
from xai_med.backend.tensors import Array, Tensor, Tensors, precision
from xai_med.checks import Check
from xai_med.errors import NotApplicableError, SettingError
from xai_med.request import Attribution, Explained, Request
from xai_med.rules import Keep
from xai_med.verification import agreement_check, in_double, where_possible

NEEDS = "attention layers over the same tokens, one after the other, with residual connections"
"""Of both methods, for their cards."""

HEADS: Mapping[str, Callable[[Tensor, Tensors], Tensor]] = {
    "mean": lambda weights, tensors: tensors.mean(weights, (1,)),
    "max": lambda weights, tensors: tensors.amax(weights, (1,)),
    "min": lambda weights, tensors: tensors.amin(weights, (1,)),
}
"""Ways of making one matrix (N, T, T) of those of all heads (N, H, T, T)."""

_ROUNDING = {"float64": 1e-9, "float32": 1e-3}


@dataclass(frozen=True, eq=False)
class Attended:
    """One traced pass of a transformer, and the weights of its attention layers.

    Parameters
    ----------
    trace : Trace
        Of the pass.
    explained : Explained
        The scores.
    stack : AttentionStack
        The layers.
    reading : Reading
        What the score is read from.
    factors : tuple of tensor
        The weights of each layer, as the model holds them.
    positions : tuple of (int, int)
        Number of each layer's product among all that were met, and which of its signals the weights are.
    """

    trace: Trace
    explained: Explained
    stack: AttentionStack
    reading: Reading
    factors: tuple[Tensor, ...]
    positions: tuple[tuple[int, int], ...]

    def arranged(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Weights of each layer, or their derivatives, as (N, H, T queries, T keys)."""
        return [layer.arranged(tensor, self.trace.tensors) for layer, tensor in zip(self.layers, tensors, strict=True)]

    @property
    def layers(self) -> tuple[AttentionLayer, ...]:
        """In the order of execution."""
        return self.stack.layers

    @property
    def read(self) -> Array:
        """How much of each token is read, (N, T), float64."""
        tokens = self.stack.tokens
        return np.tile(self.reading.weights(tokens.count), (tokens.lattice.images, 1))


def refuse_unfit(request: Request, method: str) -> None:
    """Refuse a layer and derivatives of the map.

    Raises
    ------
    SettingError
        A layer was named.
    NotApplicableError
        The map should keep its graph.
    """
    if request.layer is not None:
        raise SettingError(f"{method} goes through all attention layers and has no layer; remove layer=")
    if request.differentiable:
        raise NotApplicableError(f"the map of {method} is not differentiable; leave out differentiable=True")


def keeping(keep: Keep) -> Composite:
    """Rules that take fused attention apart, and remember the factors of its products."""
    return Composite("attention", {Kind.MATMUL: keep}, frozenset(Kind))


@contextmanager
def attention_of(request: Request, *, rows: Sequence[int] | None, residual: bool) -> Iterator[Attended]:
    """Run the model and find the weights of its attention layers.

    Parameters
    ----------
    request : Request
        The question.
    rows : sequence of int or None
        Numbers of the tokens whose rows are taken, in the model's order; None for those that the score is read from.
    residual : bool
        Whether each layer must have a way round it.

    Raises
    ------
    NotApplicableError
        The model's attention is not what both methods are defined for; what was found is named.
    SettingError
        A row does not exist.
    """
    keep = Keep()
    with request.network.trace(request.batch, start=AtInput(), rules=keeping(keep)) as trace:
        explained = request.explained(trace)
        logits = explained.logits.node
        stack = find_attention(logits, trace, request.batch)
        refuse_ways_around(logits, stack)
        if residual:
            _refuse_without_residual(logits, stack, trace)
        chosen = None if rows is None else _chosen(rows, stack.tokens.count)
        reading = find_reading(logits, stack, trace, chosen)
        positions = tuple(_position(layer, keep, trace) for layer in stack.layers)
        factors = tuple(keep.met[number][position] for number, position in positions)
        keep.met.clear()
        yield Attended(trace, explained, stack, reading, factors, positions)


def through(read: Array, matrices: Sequence[Array]) -> Array:
    """Rows (N, T) times the product of matrices (N, T, T), the last layer's first."""
    for matrix in reversed(matrices):
        read = np.einsum("nq,nqk->nk", read, matrix)
    return read


def on_image(request: Request, attended: Attended, rows: Array, checks: tuple[Check, ...]) -> Attribution:
    """Place what each token has, (N, K, T), where the token lies; tokens that lie nowhere are left out."""
    tokens, tensors = attended.stack.tokens, attended.trace.tensors
    cells = rows[..., list(tokens.grid)].reshape(*rows.shape[:2], *tokens.lattice.sizes)
    values = tensors.from_numpy(np.ascontiguousarray(cells), request.batch)
    is_even = tokens.lattice.is_even
    maps = values if is_even else tokens.lattice.placed(values, request.space, tensors)
    name = attended.trace.layer_name(before_moves(tokens.node))
    found = (_row_sums(attended), _layers_found(attended), _tokens_read(attended), _outside(rows, attended), *checks)
    return Attribution(values, maps, attended.explained, layer=name, checks=found)


def recomputed(
    request: Request,
    attribution: Attribution,
    settings: Mapping[str, Any],
    *,
    residual: bool,
    rows_of: Callable[[Request, Attended], Array],
) -> Check:
    """Compare the map with one from a copy of the model in double precision, by full products of matrices.

    Parameters
    ----------
    request, attribution, settings
        The question, the result, the method's settings.
    residual : bool
        As of `attention_of`.
    rows_of : callable
        What each token has, (N, K, T), by the method's definition, in NumPy.

    Raises
    ------
    IdentityError
        They differ by more than rounding.
    """
    tensors, double = request.network.tensors, in_double(request, attribution.explained)
    with where_possible(), attention_of(double, rows=settings["rows"], residual=residual) as attended:
        rows = rows_of(double, attended)
        tokens = attended.stack.tokens
    expected = rows[..., list(tokens.grid)].reshape(*rows.shape[:2], *tokens.lattice.sizes)
    tolerance = _ROUNDING.get(tensors.dtype(attribution.values), 0.1)
    what = "map, against full products of the attention matrices in double precision"
    return agreement_check(tensors.to_numpy(attribution.values), expected, tolerance, what=what, key="recomputed")


# ---- what is refused


def _chosen(rows: Sequence[int], count: int) -> Reading:
    numbers = list(rows) if isinstance(rows, list | tuple) else []
    is_number = all(isinstance(row, int) and not isinstance(row, bool) and 0 <= row < count for row in numbers)
    if not numbers or not is_number or len(set(numbers)) < len(numbers):
        raise SettingError(f"rows holds the numbers of one or more tokens, each once, 0 to {count - 1}; got {rows!r}")
    return Reading(tuple(numbers))


def _refuse_without_residual(logits: Node, stack: AttentionStack, trace: Trace) -> None:
    """Refuse where a layer's result and what it began from are not added, or something goes round this sum."""
    ends = [*(layer.product.index for layer in stack.layers[1:]), logits.index + 1]
    for layer, end in zip(stack.layers, ends, strict=True):
        sums = [
            node
            for node in logits.ancestors()
            if layer.product.index < node.index < end
            and node.kind is Kind.ADD
            and not leads_around(logits, node, stack.tokens.node)
        ]
        if not any(leads_around(node, layer.product, stack.tokens.node) for node in sums):
            raise NotApplicableError(
                f"the attention in {trace.layer_name(layer.product)!r} has no residual connection round it alone, "
                f"which the identity in the method's matrices stands for; attention_rollout takes residual=0, or "
                f"{INSTEAD}"
            )


def _position(layer: AttentionLayer, keep: Keep, trace: Trace) -> tuple[int, int]:
    """Where a layer's weights are among what was kept."""
    for number, signals in enumerate(keep.met):
        nodes = [trace.node(signal) for signal in signals]
        if layer.weights in nodes and layer.values in nodes:
            return number, nodes.index(layer.weights)
    raise NotApplicableError(
        f"the weights or values of the attention in {trace.layer_name(layer.product)!r} are detached from the score, "
        f"or were written over; explain the model without that"
    )


# ---- what is certified


def _row_sums(attended: Attended) -> Check:
    """How far the rows of the weights are from adding up to one.

    Raises
    ------
    NotApplicableError
        Further than rounding: what was found are no weights of attention.
    """
    tensors = attended.trace.tensors
    worst = 0.0
    for layer, weights in zip(attended.layers, attended.arranged(attended.factors), strict=True):
        sums = tensors.to_numpy(tensors.sum(tensors.stop_gradient(weights), (3,))).astype(np.float64)
        deviation = float(np.abs(sums - 1).max())
        tolerance = max(1e-6, 64 * precision(tensors.dtype(weights)))
        if not deviation <= tolerance:
            raise NotApplicableError(
                f"the rows of the attention in {attended.trace.layer_name(layer.product)!r} do not add up to one (they "
                f"are off by {deviation:.3g}), as where attention may go nowhere; {INSTEAD}"
            )
        worst = max(worst, deviation)
    return Check("rows of attention add up to one", worst, tolerance, key="row_sums")


def _layers_found(attended: Attended) -> Check:
    names = [attended.trace.layer_name(layer.product) for layer in attended.layers]
    shown = ", ".join(names[:3]) + (f" ... {names[-1]}" if len(names) > 3 else "")
    return Check("attention layers", float(len(names)), note=f"in {shown}", key="attention_layers")


def _tokens_read(attended: Attended) -> Check:
    tokens = attended.stack.tokens
    note = f"the map is {attended.reading}; {len(tokens.grid)} of {tokens.count} tokens lie in the image"
    return Check("tokens that the score is read from", len(attended.reading.tokens), note=note, key="tokens_read")


def _outside(rows: Array, attended: Attended) -> Check:
    """How much lies on class tokens and registers, which the map cannot show; the largest share of a map."""
    sizes = rows.sum(axis=2)
    inside = rows[..., list(attended.stack.tokens.grid)].sum(axis=2)
    share = (sizes - inside) / np.where(sizes > 0, sizes, 1)
    return Check("share on tokens outside of the image", float(share.max()), key="outside_share")
