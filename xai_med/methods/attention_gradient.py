"""Gradient-weighted attention: attention matrices, each weight times the score's derivative by it, rolled out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from xai_med.attention_maps import NEEDS, Attended, attention_of, on_image, recomputed, refuse_unfit, through
from xai_med.attention_slopes import attention_slopes
from xai_med.backend.tensors import Array, Tensor
from xai_med.checks import Check
from xai_med.registry import register_method
from xai_med.request import Attribution, Request


def verify_gradient(request: Request, attribution: Attribution, settings: Mapping[str, Any]) -> tuple[Check, ...]:
    """Compare the map with the published update of whole matrices, and its derivatives with difference quotients."""

    def rows_of(double: Request, attended: Attended) -> Array:
        found = []
        for matrices in _matrices(double, attended):
            relevance = np.broadcast_to(np.eye(matrices[0].shape[1]), matrices[0].shape)
            for matrix in matrices:
                relevance = relevance + matrix @ relevance
            found.append(np.einsum("nq,nqk->nk", attended.read, relevance) - attended.read)
        return np.stack(found, axis=1)

    slopes = attention_slopes(request, attribution, rows=settings["rows"])
    return *slopes, recomputed(request, attribution, settings, residual=True, rows_of=rows_of)


@register_method(
    "attention_gradient",
    source="Chefer, Gur, Wolf 2021, arXiv:2103.15679, equations 5 and 6",
    cost="one forward pass, and per class one pullback to the first attention",
    needs=NEEDS,
    verification=verify_gradient,
)
def attention_gradient(request: Request, *, rows: Sequence[int] | None = None) -> Attribution:
    """Follow each score through the attention layers, by those weights that raise it.

    ``A'_l = mean over heads of [dS/dA_l * A_l]+`` and, from ``R = I`` on, ``R = R + A'_l R`` layer by layer. The map is
    what the tokens that the score is read from have in ``R``, less the identity that it began from: the row of the
    class token, or the mean of the rows of the tokens that are averaged. It is never negative.

    Parameters
    ----------
    request : Request
        Any target that is differentiable in the logits.
    rows : sequence of int or None
        Numbers of the tokens whose rows are averaged, in the model's order, instead of those that the score is read
        from.

    Returns
    -------
    Attribution
        `values` (N, K, *grid of tokens); with one layer in units of the score.

    Raises
    ------
    NotApplicableError
        The model has no attention, or its layers do not mix the same tokens one after the other.
    GradientError
        No derivative of the score reaches a layer's weights.
    """
    refuse_unfit(request, "attention_gradient")
    with attention_of(request, rows=rows, residual=True) as attended:
        read = attended.read
        identity = np.eye(read.shape[1])
        rows_of_scores = [
            through(read, [matrix + identity for matrix in matrices]) - read
            for matrices in _matrices(request, attended)
        ]
        found = np.maximum(np.stack(rows_of_scores, axis=1), 0)  # by rounding alone it is below, where the row began
        return on_image(request, attended, found, ())


def _matrices(request: Request, attended: Attended) -> Iterator[list[Array]]:
    """``A'_l`` of each layer, (N, T, T), float64; of one score after the other."""
    tensors, explained = request.network.tensors, attended.explained
    weights = [tensors.stop_gradient(each) for each in attended.arranged(attended.factors)]

    def positive(weight: Tensor, gradient: Tensor) -> Array:
        return tensors.to_numpy(tensors.mean(tensors.relu(weight * gradient), (1,))).astype(np.float64)

    cotangents = request.cotangents(explained, attended.trace)
    for gradients in attended.trace.pullback_to_each(explained.selection.outputs, cotangents, attended.factors):
        yield [positive(*pair) for pair in zip(weights, attended.arranged(gradients), strict=True)]
