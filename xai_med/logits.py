"""Finds the logits in whatever a model returned, looking through a final sigmoid or softmax."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from xai_med.backend.network import Trace
from xai_med.backend.operations import Kind
from xai_med.backend.record import Node
from xai_med.backend.tensors import Array, Tensor, shape_of
from xai_med.errors import GradientError, NonFiniteError, OutputError

_SQUASHES = (Kind.SIGMOID, Kind.SOFTMAX)
_NOT_IMAGES = ("C", "0", "1", "2")

OutputChoice: TypeAlias = str | int | Callable[[Any], Any] | None
"""Which part of a model's output to explain: a key or attribute, a position, or a function of the output."""


@dataclass(frozen=True, eq=False)
class Logits:
    """What is explained, before any squashing.

    Parameters
    ----------
    values : tensor of shape (N, C) or, for dense outputs, (N, C, *space)
        Connected to the trace.
    node : Node
        The operation that produced them (before a final reshape).
    squash : str or None
        ``"sigmoid"`` or ``"softmax"`` where the trace shows it after the logits.
    """

    values: Tensor
    node: Node
    squash: str | None

    @property
    def is_dense(self) -> bool:
        """Whether the model gives one logit per pixel."""
        return len(shape_of(self.values)) > 2


def read_logits(trace: Trace, choice: OutputChoice) -> Logits:
    """Find the logits of a traced model.

    Parameters
    ----------
    trace : Trace
        After the forward pass.
    choice : str, int, callable or None
        Which part of a structured output; None finds it where it is unambiguous.

    Raises
    ------
    OutputError
        No logits, several candidates, or probabilities whose logits are out of sight.
    GradientError
        The output does not depend on the input.
    NonFiniteError
        A logit is NaN or infinite.
    """
    logits = find_logits(trace, choice)
    output = pick_output(trace.output, choice, trace.is_tensor)
    values = trace.tensors.to_numpy(logits.values)
    if np.iscomplexobj(values):
        raise OutputError("the model returns complex numbers, which have no order; return their real part or size")
    if not np.isfinite(values).all():
        raise NonFiniteError(
            f"the model's output holds {int((~np.isfinite(values)).sum())} NaN or infinite values for this input; "
            f"check the input's range and the model's precision"
        )
    if logits.squash is None:
        _refuse_probabilities(values)
        _refuse_hidden_squash(values, logits.node, trace)
    else:
        _refuse_other_squash(values, trace.tensors.to_numpy(output), logits.squash)
    return logits


def find_logits(trace: Trace, choice: OutputChoice) -> Logits:
    """Find the logits of a traced model, whatever their values.

    Parameters
    ----------
    trace, choice
        As in `read_logits`.

    Raises
    ------
    OutputError
        No logits, or several candidates.
    GradientError
        The output does not depend on the input.
    """
    output = pick_output(trace.output, choice, trace.is_tensor)
    node = trace.node(output)
    if node is None:
        raise GradientError(
            "the model's output does not depend on its input through operations that can be followed: "
            "it was computed outside the framework, or the model is a constant"
        )
    if len(node.shape) > 1 and node.axes[0] in _NOT_IMAGES:
        raise _not_images(node)
    return _look_through(trace, trace.resolve(output), node, _rows_and_classes(node))


def pick_output(output: Any, choice: OutputChoice, is_tensor: Callable[[object], bool]) -> Tensor:
    """The tensor to explain in a tensor, tuple, mapping or object."""
    if choice is not None:
        picked = _chosen(output, choice)
        if not is_tensor(picked):
            raise OutputError(f"output={choice!r} gives a {type(picked).__name__}, not a tensor")
        return picked
    if is_tensor(output):
        return output
    logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    if is_tensor(logits):
        return logits
    parts = dict(output) if isinstance(output, Mapping) else None
    if parts is None and isinstance(output, tuple | list):
        parts = dict(enumerate(output))
    tensors = {key: part for key, part in (parts or {}).items() if is_tensor(part)}
    if len(tensors) == 1:
        return next(iter(tensors.values()))
    if parts is None:
        raise OutputError(
            f"the model returned a {type(output).__name__}; logits are read from tensors, tuples, mappings and "
            f"objects with .logits, or from what output=function returns"
        )
    raise OutputError(
        f"the model returned {len(tensors)} tensors ({', '.join(map(repr, tensors)) or 'none'}); "
        f"say which one holds the logits with output=, a key, a position or a function"
    )


def _chosen(output: Any, choice: OutputChoice) -> Any:
    if callable(choice):
        return choice(output)
    try:
        if isinstance(choice, str) and not isinstance(output, Mapping):
            return getattr(output, choice)
        return output[choice]
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        raise OutputError(f"output={choice!r} does not exist in the model's {type(output).__name__}") from error


def squashed(logits: Array, squash: str) -> Array:
    """Probabilities of the classes, axis 1, by ``"sigmoid"`` or ``"softmax"``; float64."""
    logits = logits.astype(np.float64)
    if squash == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -700, 700))))
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _rows_and_classes(node: Node) -> tuple[int, ...]:
    """Shape (N, C) of one value per image and class, whichever axes of size 1 it has besides, or has lost.

    A squeeze takes the axis of images with it where there is one image, and that of classes where there is one class.
    The record tells what was squeezed; any other output keeps its shape.
    """
    shape = node.shape
    if len(shape) > 1:
        return shape[:2] if max(shape[2:], default=0) == 1 else shape
    if _is_one_row(node):
        return (1, max(shape, default=1))
    if not shape:
        raise OutputError("the model returned a single number for the whole batch; it must return one row per image")
    if node.axes[0] in _NOT_IMAGES:
        raise _not_images(node)
    return (shape[0], 1)


def _not_images(node: Node) -> OutputError:
    return OutputError(
        f"the first axis of the model's output, of shape {node.shape}, is not that of images; return one row per "
        f"image, or point to it with output="
    )


def _is_one_row(node: Node) -> bool:
    """Whether these are the classes of the only image, whose own axis was squeezed away."""
    *_, network_input = node.ancestors()
    if network_input.shape[0] != 1:
        return False
    source = node
    while len(source.parents) == 1 and (source.kind in _SQUASHES or source.kind is Kind.RESHAPE or _is_copy(source)):
        if source.axes == ("C",):
            return True
        source = source.parents[0]
        if len(source.shape) > 1:
            is_squeezed = node.shape == tuple(size for size in source.shape if size > 1)
            return is_squeezed and source.axes[0] == "N" and source.shape[0] == 1
    return source.axes == ("C",)


def _look_through(trace: Trace, values: Tensor, node: Node, shape: tuple[int, ...]) -> Logits:
    """Step over reshapes and one sigmoid or softmax; the logits have the shape given."""
    below = node
    while below.parents and (below.kind is Kind.RESHAPE or _is_copy(below)):
        below = below.parents[0]
    if below.kind not in _SQUASHES:
        return Logits(_shaped(trace, values, shape), node, None)
    source = trace.squash_input(below)
    if source is None:
        raise OutputError(f"the model ends in a {below.name} whose input was not kept; give the logits with output=")
    squash = "sigmoid" if below.kind is Kind.SIGMOID else "softmax"
    return Logits(_shaped(trace, source, shape), below.parents[0], squash)


def _shaped(trace: Trace, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    if shape_of(values) == shape:
        return values
    with trace.recording():
        return trace.tensors.reshape(values, shape)


def _refuse_probabilities(values: Array) -> None:
    """A softmax that was not seen: explaining it would explain noise where it is saturated."""
    if values.ndim < 2 or values.shape[1] < 2 or values.min() < 0 or values.max() > 1:
        return
    if np.abs(values.sum(axis=1, dtype=np.float64) - 1).max() < 1e-4:
        raise OutputError(
            "the model returns probabilities that sum to 1, and the softmax that made them cannot be seen; "
            "return the logits, or point to them with output="
        )


_WEIGHTED = frozenset(
    {Kind.LINEAR, Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION, Kind.MATMUL, Kind.BATCH_NORM, Kind.ATTENTION}
)
_SQUASHING = frozenset({Kind.SIGMOID, Kind.SOFTMAX, Kind.ACTIVATION, Kind.UNKNOWN})


def _is_copy(node: Node) -> bool:
    """Whether a routing hands on every value where it was, as ``x.float()`` does."""
    untouched = node.details.untouched
    return (
        node.kind is Kind.ROUTING
        and len(node.parents) == 1
        and node.shape == node.parents[0].shape
        and untouched == frozenset(range(len(node.shape)))
    )


def _refuse_hidden_squash(values: Array, node: Node, trace: Trace) -> None:
    """Refuse probabilities behind an indexing, a clamp or a sum: their logit cannot be reached from here."""
    if values.min() < 0 or values.max() > 1:
        return
    pending, seen = [node], set[int]()
    while pending:
        current = pending.pop()
        if current.index in seen or current.kind in _WEIGHTED:
            continue
        seen.add(current.index)
        if current.kind in _SQUASHING:
            raise OutputError(
                f"the model's output lies between 0 and 1 and comes from {current.name} in "
                f"{trace.layer_name(current)!r} by operations that cannot be looked through; return the logits, or "
                f"point to them with output="
            )
        pending.extend(current.parents)


def _refuse_other_squash(logits: Array, output: Array, squash: str) -> None:
    """Refuse a softmax over another axis than that of classes: its probabilities are not those of the classes."""
    if logits.ndim < 2:
        return
    expected = squashed(logits, squash)
    given = output.astype(np.float64).reshape(expected.shape)
    given = np.exp(given) if given.max() <= 0 and squash == "softmax" else given
    if np.abs(given - expected).max() > 1e-2:
        raise OutputError(
            f"the model ends in a {squash} that is not over the axis of classes, so that its values are not "
            f"probabilities of the classes; return the logits, or point to them with output="
        )
