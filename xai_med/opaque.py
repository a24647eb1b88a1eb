"""The target applied to a model's plain output, where no operation can be seen."""

import numpy as np

from xai_med.backend.operations import Kind
from xai_med.backend.record import Node
from xai_med.backend.tensors import Array, shape_of
from xai_med.errors import NonFiniteError, NotApplicableError, OutputError
from xai_med.logits import Logits, pick_output
from xai_med.request import Explained, MixedImagesError, Request
from xai_med.selection import Context

_SAME = 1e-4
"""Of the largest output: more than runtimes round, less than a random or mixing model shows."""


def plainly_explained(request: Request) -> Explained:
    """Find the outputs of a model that can only be asked, as it returns them, and apply the target.

    Parameters
    ----------
    request : Request
        For a model whose operations cannot be seen. Whether its outputs are logits or probabilities is not known
        here either; what it returns is explained.

    Raises
    ------
    OutputError
        There is no row for each image, or several outputs.
    NonFiniteError
        An output is NaN or infinite.
    """
    network = request.network
    output = pick_output(network.forward(request.batch), request.output, network.is_tensor)
    values, images = network.tensors.to_numpy(output), shape_of(request.batch)[0]
    if values.ndim == 0 or values.shape[0] != images:
        raise OutputError(
            f"the model returned an output of shape {values.shape} for {images} images; give one row each"
        )
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


def refuse_unrepeatable(request: Request, explained: Explained) -> None:
    """Ask again, and the first image alone, as there is no record that would show chance or mixing.

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

    if differs(_outputs(request, request.batch), first):
        raise NotApplicableError(
            "the model gives two answers to one question: it depends on random numbers, or on what ran before; "
            "put it in evaluation mode"
        )
    if len(first) > 1:
        alone = request.network.tensors.take(request.batch, [0], 0)
        if differs(_outputs(request, alone), first[:1]):
            raise MixedImagesError("its answer for one image alone differs from that in a batch")


def _outputs(request: Request, batch: Array) -> Array:
    network = request.network
    output = pick_output(network.forward(batch), request.output, network.is_tensor)
    values = network.tensors.to_numpy(output).astype(np.float64)
    return values.reshape(shape_of(batch)[0], -1, *values.shape[2:])
