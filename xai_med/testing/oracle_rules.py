"""Rules of relevance propagation written out: every contribution of every input to every output, image by image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from xai_med.backend.tensors import Array


@dataclass(frozen=True, eq=False)
class Layer:
    """One image in a layer that is a dense matrix.

    Parameters
    ----------
    inputs : ndarray of shape (I,)
        Activations or pixels.
    weights : ndarray of shape (J, I)
        Zero where nothing connects.
    connected : ndarray of shape (J, I)
        How often input i is read by output j.
    bias : ndarray of shape (J,)
    epsilon : float
        Stabiliser.
    channel : ndarray of shape (I,), int
        Channel of each input.
    """

    inputs: Array
    weights: Array
    connected: Array
    bias: Array
    epsilon: float
    channel: Array

    @property
    def contributions(self) -> Array:
        """``a_i w_ij``, (J, I)."""
        return self.inputs * self.weights


DenseRule: TypeAlias = Callable[[Layer], Array]
"""A layer to the share of each input in each output's relevance, (J, I)."""


def _proportion(parts: Array, rest: Array | float, epsilon: float) -> Array:
    """``parts_ij / (sum_i parts_ij + rest_j)``, stabilised; none where all is zero."""
    sums = parts.sum(axis=1) + rest
    sums = sums + np.where(sums >= 0, epsilon, -epsilon)
    return np.asarray(np.divide(parts, sums[:, None], out=np.zeros_like(parts), where=sums[:, None] != 0))


def epsilon_shares(layer: Layer) -> Array:
    """Bach et al. 2015, equation 58."""
    return _proportion(layer.contributions, layer.bias, layer.epsilon)


def positive_shares(layer: Layer) -> Array:
    """Bach et al. 2015, equation 60, alpha 1 and beta 0."""
    return _proportion(np.maximum(layer.contributions, 0), np.maximum(layer.bias, 0), layer.epsilon)


def alpha_beta_shares(alpha: float, beta: float) -> DenseRule:
    """Bach et al. 2015, equation 60."""

    def shares(layer: Layer) -> Array:
        negative = _proportion(np.minimum(layer.contributions, 0), np.minimum(layer.bias, 0), layer.epsilon)
        return alpha * positive_shares(layer) - beta * negative

    return shares


def gamma_shares(gamma: float) -> DenseRule:
    """Andéol et al. 2021: contributions of the output's own sign count 1 + gamma times."""

    def shares(layer: Layer) -> Array:
        found = np.zeros_like(layer.contributions)
        for j, (parts, bias) in enumerate(zip(layer.contributions, layer.bias, strict=True)):
            own = np.sign(parts.sum() + bias)
            parts, bias = (np.where(x * own > 0, (1 + gamma) * x, x) for x in (parts, bias))
            found[j] = _proportion(parts[None], bias[None], layer.epsilon)[0]
        return found

    return shares


def excitation_shares(layer: Layer) -> Array:
    """Zhang et al. 2016, equation 5, without a stabiliser."""
    return _proportion(np.maximum(layer.contributions, 0), 0.0, 0.0)


def contrastive_shares(layer: Layer) -> Array:
    """Zhang et al. 2016, section 3.4: less the shares in the dual units."""
    return excitation_shares(layer) - _proportion(np.maximum(-layer.contributions, 0), 0.0, 0.0)


def flat_shares(layer: Layer) -> Array:
    """Evenly to all that is read."""
    return _proportion(layer.connected, 0.0, layer.epsilon)


def square_shares(layer: Layer) -> Array:
    """Montavon et al. 2017, section 4.1.1."""
    return _proportion(layer.weights**2, 0.0, layer.epsilon)


def box_shares(low: Sequence[float], high: Sequence[float]) -> DenseRule:
    """Montavon et al. 2017, section 4.1.3, with a range for each channel."""

    def shares(layer: Layer) -> Array:
        lowest, highest = (np.asarray(end, dtype=np.float64)[layer.channel] for end in (low, high))
        weights = layer.weights
        nearest = np.where(weights > 0, lowest, highest)  # from which each contribution is counted
        return _proportion((layer.inputs - nearest) * weights, 0.0, layer.epsilon)

    return shares


def excited_terms(terms: Sequence[Array], incoming: Array) -> tuple[Array, ...]:
    """Relevance of the terms of a sum, in proportion to their positive parts."""
    total = sum(np.maximum(term, 0) for term in terms)
    return tuple(
        np.divide(np.maximum(term, 0) * incoming, total, out=np.zeros_like(incoming), where=total > 0) for term in terms
    )
