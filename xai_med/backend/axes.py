"""What the axes of an intermediate tensor mean: images, channels, or one of the space axes.

A map drawn from a tensor whose last axes are not the image's is plausible and wrong (channels-last features,
tokens), so each operation's effect on the meaning of axes is followed through the model.
"""

from collections.abc import Sequence

from xai_med.backend.operations import Details, Kind
from xai_med.backend.record import AxisNames, Node

_CHANNELS_FIRST = frozenset(
    {Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION, Kind.MAX_POOL, Kind.AVERAGE_POOL, Kind.RESAMPLE}
)
_SAME_AXES = frozenset(
    {
        Kind.BATCH_NORM,
        Kind.NORMALISATION,
        Kind.RELU,
        Kind.ACTIVATION,
        Kind.SIGMOID,
        Kind.SOFTMAX,
        Kind.ADD,
        Kind.MULTIPLY,
        Kind.DIVIDE,
        Kind.DROPOUT,
        Kind.CONCATENATE,
        Kind.STEP,
        Kind.DETACH,
        Kind.ROUTING,
    }
)


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
    unknown = ("?",) * len(shape)
    if kind in _CHANNELS_FIRST:
        source = parents[0].axes
        return source if source == image_axes(space) and len(source) == len(shape) else unknown
    largest = max(parents, key=lambda node: len(node.axes))
    source = largest.axes
    if kind in _SAME_AXES:
        return source if len(source) == len(shape) else unknown
    if kind is Kind.LINEAR:
        return (*source[:-1], "C") if len(source) == len(shape) else unknown
    if kind is Kind.PERMUTE and details.order is not None:
        return tuple(source[axis] for axis in details.order)
    if kind in (Kind.MEAN, Kind.SUM, Kind.MAXIMUM) and details.reduced is not None:
        if details.keeps_axes:
            return source
        return tuple(name for axis, name in enumerate(source) if axis not in details.reduced)
    if kind is Kind.RESHAPE:
        return _reshaped(source, largest.shape, shape)
    return unknown


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
