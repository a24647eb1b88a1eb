"""Attention rollout: how much of each token a transformer's attention layers, taken together, hand to the output."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xai_med.attention_maps import HEADS, NEEDS, Attended, attention_of, on_image, recomputed, refuse_unfit, through
from xai_med.backend.tensors import Array
from xai_med.checks import Check
from xai_med.errors import SettingError
from xai_med.registry import register_method
from xai_med.request import Attribution, Request


def verify_rollout(request: Request, attribution: Attribution, settings: Mapping[str, Any]) -> tuple[Check, ...]:
    """Compare the map with the read rows of the whole product of matrices, in double precision."""

    def rows_of(double: Request, attended: Attended) -> Array:
        matrices = _matrices(double, attended, settings["head_fusion"], settings["discard_ratio"], settings["residual"])
        product = np.broadcast_to(np.eye(matrices[0].shape[1]), matrices[0].shape)
        for matrix in matrices:
            product = matrix @ product
        rows = np.einsum("nq,nqk->nk", attended.read, product)
        return np.repeat(rows[:, None], attended.explained.count, axis=1)

    return (recomputed(request, attribution, settings, residual=settings["residual"] > 0, rows_of=rows_of),)


@register_method(
    "attention_rollout",
    source="Abnar, Zuidema 2020, arXiv:2005.00928, section 3, equation 1",
    cost="one forward pass, whose graph is kept; no pullback",
    needs=NEEDS,
    verification=verify_rollout,
)
def attention_rollout(
    request: Request,
    *,
    head_fusion: str = "mean",
    discard_ratio: float = 0.0,
    residual: float = 0.5,
    rows: Sequence[int] | None = None,
) -> Attribution:
    """Multiply the attention matrices of all layers, each mixed with the identity for the residual connection.

    With ``A_l`` one matrix of all heads, ``M_l`` is ``(1 - residual) A_l + residual I`` with rows that add up to one,
    and the map is what the tokens that the score is read from have in ``M_L ... M_1``: the row of the class token,
    or the mean of the rows of the tokens that are averaged. No score enters it: it is the same for every target.

    Parameters
    ----------
    request : Request
        Its target only names the scores.
    head_fusion : str
        ``"mean"`` (the published method), ``"max"`` or ``"min"`` over heads.
    discard_ratio : float
        Share of the entries of each fused matrix, the smallest, that are set to zero before the identity is added;
        0 is the published method. A row of which nothing is left stays zero.
    residual : float
        Weight of the identity, 0.5 in the paper; 0 leaves the residual connections out.
    rows : sequence of int or None
        Numbers of the tokens whose rows are averaged, in the model's order, instead of those that the score is read
        from.

    Returns
    -------
    Attribution
        `values` (N, K, *grid of tokens): shares, from 0 to 1, that add up to one with those of tokens outside of the
        image.

    Raises
    ------
    NotApplicableError
        The model has no attention, or its layers do not mix the same tokens one after the other.
    SettingError
        A setting is out of range.
    """
    refuse_unfit(request, "attention_rollout")
    _refuse_settings(head_fusion, discard_ratio, residual)
    with attention_of(request, rows=rows, residual=residual > 0) as attended:
        matrices = _matrices(request, attended, head_fusion, discard_ratio, residual)
        found = through(attended.read, matrices)
        shared = np.repeat(found[:, None], attended.explained.count, axis=1)
        same = Check(
            "scores that share one map",
            float(attended.explained.count),
            note="rollout sees attention weights only: the map is the same for every class and says nothing of any",
            key="class_independent",
        )
        return on_image(request, attended, shared, (same,))


def _matrices(
    request: Request, attended: Attended, head_fusion: str, discard_ratio: float, residual: float
) -> list[Array]:
    """``M_l`` of each layer, (N, T, T), float64."""
    tensors = request.network.tensors
    found = []
    for weights in attended.arranged(attended.factors):
        fused = tensors.to_numpy(HEADS[head_fusion](tensors.stop_gradient(weights), tensors)).astype(np.float64)
        kept = _without_smallest(fused, discard_ratio)
        mixed = (1 - residual) * kept + residual * np.eye(kept.shape[1])
        sums = mixed.sum(axis=2, keepdims=True)
        found.append(mixed / np.where(sums > 0, sums, 1))
    return found


def _without_smallest(matrices: Array, ratio: float) -> Array:
    """The smallest entries of each image's matrix set to zero; among equals the first go."""
    flat = matrices.reshape(len(matrices), -1).copy()
    order = np.argsort(flat, axis=1, kind="stable")[:, : int(ratio * flat.shape[1])]
    np.put_along_axis(flat, order, 0, axis=1)
    return flat.reshape(matrices.shape)


def _refuse_settings(head_fusion: str, discard_ratio: float, residual: float) -> None:
    if head_fusion not in HEADS:
        raise SettingError(f"head_fusion={head_fusion!r} is unknown; choose one of {', '.join(HEADS)}")
    for name, value in (("discard_ratio", discard_ratio), ("residual", residual)):
        if not (isinstance(value, float | int) and not isinstance(value, bool) and 0 <= value < 1):
            raise SettingError(f"{name} is a number of at least 0 and below 1, got {value!r}")
