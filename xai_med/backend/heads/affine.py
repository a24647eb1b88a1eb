"""Which operations are affine in what they receive: a chain of them is one weight and one bias."""

from xai_med.backend.operations import Kind
from xai_med.backend.record import Node

_AFFINE = frozenset(
    {
        Kind.AVERAGE_POOL,
        Kind.MEAN,
        Kind.SUM,
        Kind.ADD,
        Kind.CONCATENATE,
        Kind.DROPOUT,
        Kind.RESHAPE,
        Kind.PERMUTE,
        Kind.ROUTING,
        Kind.RESAMPLE,
    }
)
_AFFINE_IN_ONE = frozenset(
    {
        Kind.LINEAR,
        Kind.CONVOLUTION,
        Kind.TRANSPOSED_CONVOLUTION,
        Kind.MATMUL,
        Kind.MULTIPLY,
        Kind.DIVIDE,
        Kind.BATCH_NORM,
    }
)
"""Affine where one operand depends on the image and the others are constants of the model."""

_MIXING = frozenset({Kind.LINEAR, Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION, Kind.MATMUL})
_REASONS = {
    Kind.MAX_POOL: "the model pools by maximum ({name}), not by average",
    Kind.MAXIMUM: "the model pools by maximum ({name}), not by average",
    Kind.NORMALISATION: "divides by statistics of the sample itself",
    Kind.BATCH_NORM: "uses statistics of the batch",
    Kind.SOFTMAX: "is not linear",
    Kind.ATTENTION: "weighs by attention",
    Kind.DETACH: "cuts derivatives, by which the weights of such a head are read",
    Kind.STEP: "makes the output depend on a comparison or a rounded value",
}


def obstacle(node: Node) -> str | None:
    """Why an operation is not affine in what it receives, in words; None where it is.

    Parameters
    ----------
    node : Node
        The result of the operation.
    """
    if node.kind in _AFFINE:
        return None
    if node.kind in _AFFINE_IN_ONE and len(node.parents) > 1:
        return "multiplies two signals, both of which depend on the image (a gate, or attention)"
    is_sample_norm = node.kind is Kind.BATCH_NORM and node.details.statistics is None
    if node.kind in _AFFINE_IN_ONE and not is_sample_norm:
        return None
    return _REASONS.get(node.kind, "is not linear, or not known").format(name=node.name)


def mixes_channels(node: Node) -> bool:
    """Whether an operation adds up several channels by weights of its own."""
    return node.kind in _MIXING
