"""What the axes of an intermediate tensor mean: images, channels, or one of the space axes.

A map drawn from a tensor whose last axes are not the image's is plausible and wrong (channels-last features,
tokens), so each operation's effect on the meaning of axes is followed through the model.
"""

from collections.abc import Sequence
from functools import lru_cache

from xai_med.backend.operations import NO_DETAILS, Details, Kind
from xai_med.backend.record import AxisNames, Node

_CHANNELS_FIRST = frozenset(
    {Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION, Kind.MAX_POOL, Kind.AVERAGE_POOL, Kind.RESAMPLE}
)
_SAME_AXES = frozenset(
    {
        Kind.BATCH_NORM,
        Kind.RELU,
        Kind.ACTIVATION,
        Kind.SIGMOID,
        Kind.ADD,
        Kind.MULTIPLY,
        Kind.DIVIDE,
        Kind.DROPOUT,
        Kind.STEP,
        Kind.DETACH,
    }
)
_ALONG_AXES = frozenset({Kind.SOFTMAX, Kind.NORMALISATION})
_PRODUCTS = frozenset({Kind.MATMUL, Kind.ATTENTION})
_ROUTED = frozenset({Kind.CONCATENATE, Kind.ROUTING})


@lru_cache(maxsize=8)
def image_axes(space: int) -> AxisNames:
    """Names of the axes of a channels-first tensor with `space` space axes."""
    return ("N", "C", *(str(axis) for axis in range(space)))


def has_image_axes(node: Node, space: int) -> bool:
    """Whether the node's output is (N, C, *space) with the image's space axes in order."""
    return node.axes == image_axes(space)


def result_axes(
    kind: Kind, details: Details, parents: Sequence[Node], shape: tuple[int, ...], *, space: int
) -> AxisNames:
    """Meaning of the axes of an operation's result.

    Parameters
    ----------
    kind, details
        Of the operation.
    parents : sequence of Node
        Producers of its signals, the first being the main one.
    shape : tuple of int
        Of the result.
    space : int
        Number of space axes of the network's input.
    """
    main = parents[0]
    if kind in _ALONG_AXES:
        return _compared(details, main.axes) if len(main.axes) == len(shape) else ("?",) * len(shape)
    if kind in _SAME_AXES and len(parents) == 1 and main.shape == shape:
        return main.axes
    unknown = ("?",) * len(shape)
    if kind in _CHANNELS_FIRST:
        source = main.axes
        if source == image_axes(space) and len(source) == len(shape):
            return source
        return (source[0], *unknown[1:]) if source and shape and shape[0] == main.shape[0] else unknown
    largest = max(parents, key=lambda node: len(node.axes))
    source = largest.axes
    if kind in _SAME_AXES:
        return _broadcast(parents, shape) if len(source) == len(shape) else unknown
    if kind in _ROUTED:
        untouched = details.untouched if details.untouched is not None else frozenset[int]()
        if len(source) - len(details.dropped) != len(shape):
            return unknown
        if details.dropped:
            return tuple(
                name if axis in untouched else "?" for axis, name in enumerate(source) if axis not in details.dropped
            )
        # the order of channels does not matter to a map, the place of an image or a cell does
        return tuple(
            name if axis in untouched or name == "C" or largest.shape[axis] == shape[axis] == 1 else "?"
            for axis, name in enumerate(source)
        )
    if kind is Kind.LINEAR:
        return (*source[:-1], "C") if len(source) == len(shape) else unknown
    if kind is Kind.PERMUTE and details.order is not None:
        return tuple(source[axis] for axis in details.order)
    if kind in (Kind.MEAN, Kind.SUM, Kind.MAXIMUM) and details.reduced is not None:
        if details.keeps_axes:
            gone = {axis for axis in details.reduced if source[axis] == "N"}
            return tuple("?" if axis in gone else name for axis, name in enumerate(source))
        return tuple(name for axis, name in enumerate(source) if axis not in details.reduced)
    if kind is Kind.RESHAPE:
        return _reshaped(source, largest.shape, shape)
    if kind in _PRODUCTS and details.equation is not None:
        return _by_images(details.equation, parents, shape)
    return unknown


def _compared(details: Details, axes: AxisNames) -> AxisNames:
    """Names after values were compared along some axes; images that were compared do not stay apart."""
    over = set(details.reduced or ())
    if details.spread is not None and len(details.spread.view) == len(axes):
        over.update(details.spread.axes)
    return tuple("?" if axis in over and name == "N" else name for axis, name in enumerate(axes))


def _by_images(equation: str, parents: Sequence[Node], shape: tuple[int, ...]) -> AxisNames:
    """Names of a product that is made for each entry of the first axis: images stay apart, the rest is unknown."""
    given, _, result = equation.replace(" ", "").partition("->")
    leads = {term[:1] for term in (*given.split(","), result)}
    is_apart = (
        len(leads) == 1
        and len(shape) > 2
        and all(
            len(parent.shape) == len(shape) and parent.axes[0] == "N" and parent.shape[0] == shape[0]
            for parent in parents
        )
    )
    return ("N" if is_apart else "?", *("?",) * (len(shape) - 1)) if shape else ()


def _broadcast(parents: Sequence[Node], shape: tuple[int, ...]) -> AxisNames:
    """Names on which all operands agree that are not merely repeated along the axis."""
    names = []
    for axis in range(len(shape)):
        found = set()
        for parent in parents:
            place = axis - len(shape) + len(parent.shape)
            if place >= 0 and parent.shape[place] == shape[axis]:
                found.add(parent.axes[place])
        names.append(found.pop() if len(found) == 1 else "?")
    return tuple(names)


def indexing(index: object, rank: int) -> Details:
    """Axes that indexing leaves alone, full slices, and those that it drops; nothing where the index is not plain."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(part is Ellipsis for part in parts):
        place = next(number for number, part in enumerate(parts) if part is Ellipsis)
        parts[place : place + 1] = [slice(None)] * (rank - len(parts) + 1)
    if len(parts) > rank or any(part is None or isinstance(part, bool) for part in parts):
        return NO_DETAILS
    parts += [slice(None)] * (rank - len(parts))
    untouched = (axis for axis, part in enumerate(parts) if isinstance(part, slice) and part == slice(None))
    dropped = frozenset(axis for axis, part in enumerate(parts) if isinstance(part, int))
    if dropped and not all(isinstance(part, slice | int) for part in parts):
        return NO_DETAILS  # beside an index of several places, whose axis may come to stand elsewhere
    return Details(untouched=frozenset(untouched), dropped=dropped)


def moved_by_padding(widths: Sequence[int], rank: int) -> frozenset[int]:
    """Axes whose padding moves the middle, by more than the one cell that an even stride needs, or widens the edge.

    More than three cells at an edge, what a 7 x 7 kernel needs, would be counted as part of the image.

    Parameters
    ----------
    widths : sequence of int
        Before and after, for the last axis first.
    rank : int
        Of the padded tensor.
    """
    pairs = zip(widths[::2], widths[1::2], strict=False)
    return frozenset(
        rank - 1 - number
        for number, (before, after) in enumerate(pairs)
        if abs(before - after) > 1 or max(before, after) > 3
    )


def _reshaped(axes: AxisNames, old: tuple[int, ...], new: tuple[int, ...]) -> AxisNames:
    """Keep the names of the leading and trailing axes that a reshape leaves alone."""
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    changed = axes[head : len(axes) - tail]
    # only channels were regrouped (a channel shuffle), or only axes of size 1 went away or came
    names = "C" if changed and all(name == "C" for name in changed) else "?"
    if all(size == 1 for size in old[head : len(old) - tail]) or all(size == 1 for size in new[head : len(new) - tail]):
        names = "?"
    middle = (names,) * (len(new) - head - tail)
    return (*axes[:head], *middle, *axes[len(axes) - tail :])
