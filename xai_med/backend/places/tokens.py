"""Which tensor of a model without a feature map at its end holds the features: tokens, windows, channels-last grids."""

from collections.abc import Iterator

from xai_med.backend.network import Trace
from xai_med.backend.operations import Kind
from xai_med.backend.places.lattice import Lattice
from xai_med.backend.places.locate import Locator
from xai_med.backend.record import Node
from xai_med.errors import LayerError

_REORDERED = frozenset({Kind.RESHAPE, Kind.PERMUTE})
_SPLIT = _REORDERED | {Kind.ROUTING}
_WINDOWED = frozenset({Kind.AVERAGE_POOL, Kind.MAX_POOL, Kind.CONVOLUTION})


def attends(node: Node) -> bool:
    """Whether an operation weighs signals by another signal, as attention does."""
    return node.kind is Kind.ATTENTION or (node.kind is Kind.MATMUL and len(node.parents) > 1)


def token_features(logits: Node, locator: Locator, trace: Trace) -> Node | None:
    """The last operation from whose places the logits are computed.

    Where tokens are pooled, as by a mean, it is what enters the pool. Where only a class token goes on, the tokens
    of places have no derivative behind the last attention, and it is the input of that attention's projections.

    Parameters
    ----------
    logits : Node
        The operation that made them.
    locator : Locator
        Of the same trace.
    trace : Trace
        For names in messages.

    Returns
    -------
    Node or None
        None where no places are known, where they are lost before they are taken together, or where the output
        itself has places.

    Raises
    ------
    LayerError
        Several tensors with places feed the output side by side.
    """
    if locator.lattice(logits) is not None:
        return None
    for node in logits.ancestors():
        source = _attended(node, locator) if attends(node) else None
        if source is not None:
            _refuse_other_attention(logits, node, locator, trace)
            return source
        feeding = _feeding(node, locator)
        if feeding is not None and not _gathers(node):
            return None
        if feeding is not None:
            _refuse_other_pools(logits, feeding, locator, trace)
            return feeding
    return None


def layer_lattice(node: Node, locator: Locator, name: str) -> Lattice:
    """Where in the image the cells of a named layer's output lie.

    Raises
    ------
    LayerError
        This could not be followed, or they are not a grid over the image.
    """
    lattice = locator.lattice(node)
    if lattice is None:
        raise LayerError(
            f"the output of layer {name!r} has shape {node.shape}, which is not (N, C, *space) with the "
            f"{locator.space} space axes of the input, and no other grid of places over the image could be found in "
            f"it; choose a layer with space axes, such as the last convolution, or with tokens"
        )
    return lattice


def before_moves(node: Node) -> Node:
    """The operation that computed the values that a node hands on, for its name."""
    while node.kind in _SPLIT and len(node.parents) == 1:
        node = node.parents[0]
    return node


def _feeding(node: Node, locator: Locator) -> Node | None:
    """The latest input with a lattice of an operation that ends it, other than by leaving the places out."""
    feeding = [parent for parent in node.parents if locator.lattice(parent) is not None]
    if not feeding or locator.lattice(node) is not None or locator.leaves_places_out(node):
        return None
    return max(feeding, key=lambda parent: parent.index)


def _gathers(node: Node) -> bool:
    """Whether an operation is a way to take the places together, rather than one that could not be followed."""
    is_whole = node.kind in _WINDOWED and len(node.shape) > 2 and max(node.shape[2:]) == 1
    return (
        is_whole
        or node.kind in (Kind.RESHAPE, Kind.LINEAR, Kind.MATMUL, Kind.ATTENTION)
        or bool(node.kind in (Kind.MEAN, Kind.SUM, Kind.MAXIMUM) and node.details.reduced)
    )


def _attended(node: Node, locator: Locator) -> Node | None:
    """What an attention projects to keys and values; None where its values have no places."""
    if node.move is None:
        return None
    operands = list(node.move.operands())
    key, value = operands[1:3] if node.kind is Kind.ATTENTION and len(operands) > 2 else operands[:2]
    if not isinstance(key, Node) or not isinstance(value, Node) or locator.lattice(value) is None:
        return None
    above = {ancestor.index for ancestor in key.ancestors()}
    for ancestor in value.ancestors():
        if ancestor.index in above and locator.lattice(ancestor) is not None:
            return _unprojected(ancestor)
    return None


def _unprojected(node: Node) -> Node:
    """The input of the linear layer that made a tensor of queries, keys and values; else the tensor itself."""
    made_by = node
    while made_by.kind in _SPLIT and len(made_by.parents) == 1:
        made_by = made_by.parents[0]
    if made_by.kind is Kind.LINEAR:
        return made_by.parents[0]
    while node.kind in _REORDERED and len(node.parents) == 1:
        node = node.parents[0]
    return node


def _refuse_other_attention(logits: Node, chosen: Node, locator: Locator, trace: Trace) -> None:
    above = {node.index for node in chosen.ancestors()}
    others = (node for node in logits.ancestors() if attends(node) and node.index not in above)
    _refuse(chosen, (node for node in others if _attended(node, locator) is not None), trace)


def _refuse_other_pools(logits: Node, chosen: Node, locator: Locator, trace: Trace) -> None:
    above = {node.index for node in chosen.ancestors()}
    found = (_feeding(node, locator) for node in logits.ancestors() if node.index not in above)
    others = (node for node in found if node is not None and node is not chosen)
    _refuse(chosen, (node for node in others if all(other is not chosen for other in node.ancestors())), trace)


def _refuse(chosen: Node, others: Iterator[Node], trace: Trace) -> None:
    other = next(others, None)
    if other is not None:
        names = [trace.layer_name(before_moves(node)) for node in (chosen, other)]
        raise LayerError(
            f"several tensors with space axes feed the output side by side, among them those of {names[0]!r} and "
            f"{names[1]!r}; name one with layer="
        )
