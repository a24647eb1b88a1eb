"""Derivatives of a score by attention weights, against difference quotients with the weights displaced."""

from collections.abc import Sequence

import numpy as np

from xai_med.attention_maps import Attended, attention_of, keeping
from xai_med.backend.start import AtInput
from xai_med.backend.tensors import Array, Tensor, shape_of
from xai_med.checks import Check
from xai_med.request import Attribution, Request
from xai_med.rules import Keep
from xai_med.verification import Claim, in_double, slope_checks, where_possible


def attention_slopes(request: Request, attribution: Attribution, *, rows: Sequence[int] | None) -> tuple[Check, ...]:
    """Displace the weights of all layers at once, in double precision, and look how the scores change.

    Parameters
    ----------
    request, attribution : Request, Attribution
        The question and the result.
    rows : sequence of int or None
        As of `attention_of`.

    Raises
    ------
    IdentityError
        The derivatives are not those of the score.
    """
    tensors, double = request.network.tensors, in_double(request, attribution.explained)
    with where_possible(), attention_of(double, rows=rows, residual=True) as attended:
        explained = attended.explained
        pulled = attended.trace.pullback_to_each(
            explained.selection.outputs, double.cotangents(explained, attended.trace), attended.factors
        )
        gradients = np.stack([_flat(attended, each) for each in pulled], axis=1)
        weights = _flat(attended, attended.factors)
        entries = [_entries(attended, number) for number in range(len(attended.layers))]
        positions = attended.positions

    def score(displacement: Array) -> Array:
        displaced, begin = {}, 0
        for position, places in zip(positions, entries, strict=True):
            own = np.zeros(places.size)
            end = begin + places[0].size
            own[places.reshape(len(places), -1)] = displacement[:, begin:end, 0]
            displaced[position] = own.reshape(shapes[position])
            begin = end
        native = {key: tensors.from_numpy(array, double.batch) for key, array in displaced.items()}
        rules = keeping(Keep(displaced=native))
        with where_possible(), double.network.trace(double.batch, start=AtInput(), rules=rules) as trace:
            return double.explained(trace).selection.scores

    shapes = {p: layer.weights.shape for p, layer in zip(positions, attended.layers, strict=True)}
    claim = Claim(score, weights[..., None], weights[..., None], gradients[..., None], "float64")
    return slope_checks(claim, what="gradient at the attention weights")


def _flat(attended: Attended, tensors: Sequence[Tensor]) -> Array:
    """All weights of each image in one row."""
    to_numpy, images = attended.trace.tensors.to_numpy, attended.stack.tokens.lattice.images
    return np.concatenate([to_numpy(each).reshape(images, -1) for each in attended.arranged(tensors)], axis=1)


def _entries(attended: Attended, number: int) -> Array:
    """Where in a layer's own weights, flattened, each arranged one lies: (N, H, T, T)."""
    tensors, factor = attended.trace.tensors, attended.factors[number]
    shape = shape_of(factor)
    numbers = tensors.from_numpy(np.arange(float(np.prod(shape))).reshape(shape), factor)
    return np.rint(tensors.to_numpy(attended.layers[number].arranged(numbers, tensors))).astype(np.int64)
