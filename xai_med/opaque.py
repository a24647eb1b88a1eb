"""The target applied to a model's plain output, where no operation can be seen."""

import numpy as np

from xai_med.backend.operations import Kind
from xai_med.backend.record import Node
from xai_med.backend.tensors import Array, Tensor, shape_of
from xai_med.errors import NonFiniteError, NotApplicableError, OutputError, TargetError
from xai_med.logits import Logits, pick_output
from xai_med.request import Explained, MixedImagesError, Request
from xai_med.selection import Context
from xai_med.targets import Predicted, Probability

_SAME = 1e-4
"""Of the largest output: more than runtimes round, less than a random or mixing model shows."""


def plainly_explained(request: Request, *, is_apart: bool) -> Explained:
    """Find the outputs of a model that can only be asked, as it returns them, and apply the target.

    Parameters
    ----------
    request : Request
        For a model whose operations cannot be seen. Whether its outputs are logits or probabilities is not known
        here either; what it returns is explained.
    is_apart : bool
        Ask each image alone, as it cannot be seen whether the model mixes the images of a batch.

    Raises
    ------
    OutputError
        There is no row for each image, or several outputs.
    NonFiniteError
        An output is NaN or infinite.
    """
    network = request.network
    output = _asked_apart(request) if is_apart else _asked(request, request.batch)
    values, images = network.tensors.to_numpy(output), shape_of(request.batch)[0]
    if values.ndim == 1:
        output = network.tensors.reshape(output, (images, 1))
    if not np.isfinite(values).all():
        raise NonFiniteError("the model's output holds NaN or infinite values")
    shape = shape_of(output)
    axes = ("N", "C", *(str(axis) for axis in range(len(shape) - 2)))
    logits = Logits(output, Node(Kind.UNKNOWN, "the model", (), shape, axes, 0), None)
    context = Context(output, logits, network.tensors, request.class_names, request.activation, network.is_tensor)
    selection = request.target.select(context)
    return Explained(logits, selection, request.activation, context.values)


def refuse_probabilities(explained: Explained, request: Request) -> None:
    """Refuse to squash what may be squashed already, and to take a probability's sign for an answer.

    Raises
    ------
    OutputError
        All outputs lie between 0 and 1, and an activation was named.
    TargetError
        The only output does, and its sign was to tell the class.
    """
    values = explained.all_logits
    if values.min() < 0 or values.max() > 1:
        return
    if request.activation is not None or isinstance(request.target, Probability):
        raise OutputError(
            "the model's outputs all lie between 0 and 1 and may be probabilities already, which activation= would "
            "squash again; remove it, and explain the outputs as they are"
        )
    if isinstance(request.target, Predicted) and values.shape[1] == 1:
        raise TargetError(
            "the model's single output lies between 0 and 1, so that its sign does not tell the predicted answer; give "
            "target='positive' or 'negative'"
        )


def refuse_unrepeatable(request: Request, explained: Explained, *, is_apart: bool) -> None:
    """Ask again, and each image alone, as there is no record that would show chance or mixing.

    Raises
    ------
    NotApplicableError
        The model answers otherwise when it is asked twice.
    MixedImagesError
        It answers otherwise for one image alone.
    """
    first = explained.all_logits
    size = max(float(np.abs(first).max()), float(np.finfo(np.float32).tiny))

    def differs(other: Array, known: Array) -> bool:
        return bool(np.abs(other - known).max() > _SAME * size)

    apart = _values(_asked_apart(request), request)
    if differs(apart if is_apart else _values(_asked(request, request.batch), request), first):
        raise NotApplicableError(
            "the model gives two answers to one question: it depends on random numbers, or on what ran before; "
            "put it in evaluation mode"
        )
    if differs(apart, first):
        raise MixedImagesError("its answer for one image alone differs from that in a batch")


def _asked(request: Request, batch: Tensor) -> Tensor:
    network = request.network
    output = pick_output(network.forward(batch), request.output, network.is_tensor)
    shape, images = shape_of(output), shape_of(batch)[0]
    if not shape or shape[0] != images:
        raise OutputError(f"the model returned an output of shape {shape} for {images} images; give one row each")
    return output


def _asked_apart(request: Request) -> Tensor:
    tensors, batch = request.network.tensors, request.batch
    rows = [_asked(request, tensors.take(batch, [n], 0)) for n in range(shape_of(batch)[0])]
    return tensors.concatenate(rows, 0)


def _values(output: Tensor, request: Request) -> Array:
    values = request.network.tensors.to_numpy(output).astype(np.float64)
    return values.reshape(len(values), -1, *values.shape[2:])
