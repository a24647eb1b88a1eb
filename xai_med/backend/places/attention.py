"""The attention layers of a model, found in the record: products by what a softmax made, over the same tokens each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from xai_med.backend.network import Trace
from xai_med.backend.operations import Kind
from xai_med.backend.places import algebra
from xai_med.backend.places.algebra import Places
from xai_med.backend.places.equations import labels_of
from xai_med.backend.places.locate import Locator
from xai_med.backend.places.numbered import Tokens, numbered
from xai_med.backend.places.tokens import attends
from xai_med.backend.record import Node
from xai_med.backend.tensors import Array, Tensor, Tensors
from xai_med.errors import NotApplicableError, UnsupportedOperationError

INSTEAD = "use method='grad_cam', or 'lrp'"
_VALUES_STAY = frozenset({Kind.DROPOUT, Kind.RESHAPE, Kind.PERMUTE})


@dataclass(frozen=True, eq=False)
class AttentionLayer:
    """One attention, as the record shows it.

    Parameters
    ----------
    product : Node
        The product of weights and values.
    weights, values : Node
        What made its factors.
    order : tuple of int
        Permutation of the axes of the weights: images, heads and the like, then queries, then keys.
    entries : tuple of int
        Along the leading axes, taken as one: image after image, the heads of each.
    images : int
        Number of images.
    ranks : tuple of int
        Where among queries and keys alike each token stands, by its number.
    images : int
        Number of images.
    """

    product: Node
    weights: Node
    values: Node
    order: tuple[int, ...]
    entries: tuple[int, ...]
    ranks: tuple[int, ...]
    images: int

    def arranged(self, tensor: Tensor, tensors: Tensors) -> Tensor:
        """Weights, or their derivatives, as (N, heads, T queries, T keys), tokens in the order of their numbers."""
        count = len(self.ranks)
        moved = tensors.reshape(tensors.transpose(tensor, self.order), (-1, count, count))
        moved = tensors.take(moved, self.entries, 0)
        if self.ranks != tuple(range(count)):
            moved = tensors.take(tensors.take(moved, self.ranks, 1), self.ranks, 2)
        return tensors.reshape(moved, (self.images, -1, count, count))


@dataclass(frozen=True, eq=False)
class AttentionStack:
    """All attention layers on the way to a score, one after the other over the same tokens.

    Parameters
    ----------
    layers : tuple of AttentionLayer
        In the order of execution.
    tokens : Tokens
        That they mix.
    follower : Locator
        Follows the tokens by their numbers.
    """

    layers: tuple[AttentionLayer, ...]
    tokens: Tokens
    follower: Locator


def find_attention(logits: Node, trace: Trace, batch: Tensor) -> AttentionStack:
    """Find the attention layers on the way to the logits, and make sure that they are a stack over the same tokens.

    Parameters
    ----------
    logits : Node
        The operation that made them.
    trace : Trace
        Under rules, so that fused attention is taken apart.
    batch : tensor of shape (N, C, *space)
        The images.

    Raises
    ------
    NotApplicableError
        The model has no attention; or some is not among the same tokens, not by a softmax, or beside another.
    UnsupportedOperationError
        A fused attention cannot be taken apart.
    """
    factors = dict(_mixing(logits, trace))
    products = [node for node in reversed(list(logits.ancestors())) if node in factors]
    if not products:
        raise NotApplicableError(
            f"the model has no attention by weights that a softmax made on the way to the score; {INSTEAD}"
        )
    _refuse_other_products(logits, factors, trace)
    first = products[0]
    tokens = numbered(_source(*factors[first]), Locator(trace, batch))
    if tokens is None:
        raise NotApplicableError(
            f"the attention in {trace.layer_name(first)!r} begins from tokens that are no grid over the image, or that "
            f"could not be followed to their places in it; {INSTEAD}"
        )
    follower = Locator(trace, batch, (tokens.node, tokens.places))
    layers = tuple(_layer(product, *factors[product], tokens, follower, trace) for product in products)
    for earlier, later in pairwise(layers):
        if earlier.product not in later.values.ancestors():
            names = [trace.layer_name(layer.product) for layer in (earlier, later)]
            raise NotApplicableError(
                f"the attention layers in {names[0]!r} and {names[1]!r} stand side by side, not one after the other; "
                f"{INSTEAD}"
            )
    return AttentionStack(layers, tokens, follower)


def leads_around(start: Node, product: Node, end: Node) -> bool:
    """Whether something goes from `end` to `start` without passing `product`, as over a residual connection."""
    return any(node is end for node in _without(start, product))


def reaches_image_without(start: Node, avoided: Node) -> bool:
    """Whether derivatives lead from `start` to the image without passing an operation."""
    return any(not node.parents for node in _without(start, avoided))


def _without(start: Node, avoided: Node) -> Iterator[Node]:
    seen: set[int] = {avoided.index}
    pending = [start]
    while pending:
        node = pending.pop()
        if node.index in seen or not node.is_differentiable:
            continue
        seen.add(node.index)
        yield node
        pending.extend(node.parents)


def _mixing(logits: Node, trace: Trace) -> Iterator[tuple[Node, tuple[Node, Node]]]:
    """Each product of weights from a softmax with values: its node, and what made both factors."""
    for node in logits.ancestors():
        if node.kind is Kind.ATTENTION:
            raise UnsupportedOperationError(
                f"the weights of {node.name} in {trace.layer_name(node)!r} are not to be seen, as it computes all at "
                f"once; use an implementation that calls scaled_dot_product_attention, or {INSTEAD}"
            )
        operands = _operands(node)
        if len(operands) != 2:
            continue
        weights = [operand for operand in operands if _comes_of_softmax(operand)]
        if len(weights) == 1:
            values = operands[1] if weights[0] is operands[0] else operands[0]
            yield node, (weights[0], values)


def _operands(node: Node) -> list[Node]:
    """The two signals of a matrix product; empty where it has one, or more, or is none."""
    if not attends(node) or node.move is None:
        return []
    operands = [operand for operand in node.move.operands() if isinstance(operand, Node)]
    return operands if len(operands) == 2 else []


def _comes_of_softmax(node: Node) -> bool:
    while len(node.parents) == 1 and (node.kind in _VALUES_STAY or _is_copy(node)):
        node = node.parents[0]
    return node.kind is Kind.SOFTMAX and not node.name.startswith("log_")


def _is_copy(node: Node) -> bool:
    """Whether every value stays in its place, as where only the dtype changes."""
    is_whole = node.shape == node.parents[0].shape and node.details.untouched == frozenset(range(len(node.shape)))
    return (node.kind is Kind.ROUTING and is_whole) or node.kind is Kind.DETACH


def _source(weights: Node, values: Node) -> Node:
    """The last operation of which both factors of a product come."""
    above = {node.index for node in weights.ancestors()}
    return next(node for node in values.ancestors() if node.index in above)


def _refuse_other_products(logits: Node, factors: dict[Node, tuple[Node, Node]], trace: Trace) -> None:
    """Refuse products of two signals that are neither attention nor what its weights are made of."""
    scores = {
        node.index
        for weights, values in factors.values()
        for node in weights.ancestors()
        if node.index > _source(weights, values).index
    }
    for node in logits.ancestors():
        if attends(node) and node not in factors and node.index not in scores:
            raise NotApplicableError(
                f"{node.name} in {trace.layer_name(node)!r} multiplies two signals, and is no attention by weights "
                f"that a softmax made; {INSTEAD}"
            )


def _layer(
    product: Node, weights: Node, values: Node, tokens: Tokens, follower: Locator, trace: Trace
) -> AttentionLayer:
    """Read the axes of one attention, and compare the tokens along them.

    Raises
    ------
    NotApplicableError
        They are not all tokens, each once, in the same order along queries and values.
    """
    where = trace.layer_name(product)
    read = _axes(product, weights)
    if read is None:
        raise NotApplicableError(
            f"which axes of the attention in {where!r} are queries and keys could not be read from {product.name}; "
            f"{INSTEAD}"
        )
    own, other, leads, query, key = read
    queries, keys = weights.shape[own.index(query)], weights.shape[own.index(key)]
    if queries != keys:
        raise NotApplicableError(
            f"the attention in {where!r} has {queries} queries and {keys} keys: attention across two sets of tokens, "
            f"or to pooled ones, does not mix the same tokens; {INSTEAD}"
        )
    if queries != tokens.count:
        raise NotApplicableError(
            f"the attention in {where!r} is among {queries} of {tokens.count} tokens, as within windows or behind "
            f"merged tokens, or among channels; {INSTEAD}"
        )
    sizes = [weights.shape[own.index(letter)] for letter in (*leads, query)]
    rows = _numbers(follower.places(weights), own, (*leads, query), sizes, tokens)
    columns = _numbers(follower.places(values), other, (*leads, key), sizes, tokens)
    images = rows[:, 0] // tokens.count
    counts = np.bincount(np.maximum(images, 0), minlength=tokens.lattice.images)
    ranks = np.argsort(rows[0])
    is_same = (rows == images[:, None] * tokens.count + rows[0] % tokens.count).all() and (columns == rows).all()
    is_whole = (rows[0][ranks] % tokens.count == np.arange(tokens.count)).all() and (rows >= 0).all()
    if not (is_same and is_whole and len(counts) == tokens.lattice.images and (counts == counts[0]).all()):
        raise NotApplicableError(
            f"the queries and values of the attention in {where!r} are not the tokens of the layer before: tokens were "
            f"added, exchanged, mixed or moved between, or could not be followed; {INSTEAD}"
        )
    order = tuple(own.index(letter) for letter in (*leads, query, key))
    entries = tuple(int(entry) for entry in np.argsort(images, kind="stable"))
    return AttentionLayer(product, weights, values, order, entries, tuple(map(int, ranks)), tokens.lattice.images)


def _axes(product: Node, weights: Node) -> tuple[str, str, list[str], str, str] | None:
    """Letters of the weights and of the values; among those of the weights the leading ones, query and key."""
    if product.move is None or product.details.equation is None:
        return None
    operands = list(product.move.operands())
    if len(operands) != 2:
        return None
    written = labels_of(product.details.equation, [len(item.shape) for item in operands], len(product.shape))
    if written is None:
        return None
    (first, second), result = written
    own, other = (first, second) if operands[0] is weights else (second, first)
    keys = [letter for letter in own if letter in other and letter not in result]
    queries = [letter for letter in own if letter not in other and letter in result]
    leads = [letter for letter in own if letter in other and letter in result]
    if len(keys) != 1 or len(queries) != 1 or len(leads) != len(own) - 2:
        return None
    return own, other, leads, queries[0], keys[0]


def _numbers(places: Places, letters: str, wanted: Sequence[str], sizes: list[int], tokens: Tokens) -> Array:
    """Number of the token of each entry along some axes, with all but the last taken as one; -1 where it is none."""
    over = [axis for axis, letter in enumerate(letters) if letter not in wanted]
    cells = tokens.numbers(algebra.merged(places, over))
    present = [letter for letter in wanted if letter in letters]
    cells = np.transpose(cells, [*(letters.index(letter) for letter in present), *over])
    cells = cells.reshape(cells.shape[: len(present)])
    spread = cells.reshape([cells.shape[present.index(c)] if c in present else 1 for c in wanted])
    return np.broadcast_to(spread, sizes).reshape(-1, sizes[-1])
