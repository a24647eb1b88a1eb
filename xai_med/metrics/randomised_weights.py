"""Weights that have lost what was learned and kept their scale."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from xai_med.backend.tensors import Array
from xai_med.errors import LayerError, NonFiniteError, SettingError
from xai_med.metrics.settings import whole_number


@dataclass(frozen=True, eq=False)
class RandomisedWeights:
    """Arrays of a model, some of them drawn anew.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        All of them, in their order; those not asked for are the caller's own.
    redrawn : tuple of str
        Which were drawn anew.
    unchanged : tuple of str
        Which were asked for and stay as they were: all values are the same (a bias of zeros, a scale of ones), or
        they are counters.
    seed : int
    """

    arrays: Mapping[str, Array]
    redrawn: tuple[str, ...]
    unchanged: tuple[str, ...]
    seed: int


def randomised_weights(arrays: Mapping[str, Array], names: Sequence[str], *, seed: int) -> RandomisedWeights:
    """Draw named arrays anew, with the mean and the standard deviation of each one's own values.

    Values are drawn from a normal distribution; of an array without negative values from a gamma distribution, so
    that variances of batch norm stay what they must be. An array's draw depends on its name and the seed alone: what
    a cascade has lost stays the same at its later stages.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        State of a model: weights, biases, running statistics. Nothing of it is written to.
    names : sequence of str
        Which are lost; see `layers_top_down`.
    seed : int

    Raises
    ------
    LayerError
        A name is not among the arrays.
    SettingError
        No name, or one twice.
    NonFiniteError
        An array holds NaN or infinity, or its type cannot hold what was drawn.

    References
    ----------
    Adebayo et al. 2018, arXiv:1810.03292, section 3.1, who run the model's initialiser again. It is not known from a
    state; draws with the trained scale keep activations in the range of the trained model, which the initialiser does
    not.
    """
    start = whole_number(seed, "seed", least=0)
    if isinstance(names, str) or not len(names) or len(set(names)) < len(names):
        raise SettingError(f"names lists each array once, and at least one; got {names!r}")
    unknown = [name for name in names if name not in arrays]
    if unknown:
        raise LayerError(f"{unknown[0]!r} is not among the {len(arrays)} arrays of the model: {', '.join(arrays)}")
    lost = {name: _redrawn(name, np.asarray(arrays[name]), start) for name in names}
    redrawn = {name: array for name, array in lost.items() if array is not None}
    return RandomisedWeights(
        MappingProxyType({name: redrawn.get(name, array) for name, array in arrays.items()}),
        tuple(redrawn),
        tuple(name for name in names if name not in redrawn),
        start,
    )


def layers_top_down(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Group names of a state by module, the last module first.

    Parameters
    ----------
    names : sequence of str
        Dotted, such as ``"block1.norm.running_var"``, in the order of the state. Frameworks list modules as they were
        made, which need not be the order in which they run; reorder the result where it is not.

    Returns
    -------
    dict of str to tuple of str
        Of each module its names; ``""`` for arrays of the model itself.
    """
    layers: dict[str, list[str]] = {}
    for name in names:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    return {layer: tuple(own) for layer, own in reversed(layers.items())}


def _redrawn(name: str, array: Array, seed: int) -> Array | None:
    """A new array, or None where there is nothing to draw."""
    if array.dtype.kind != "f" or not array.size:
        return None
    wide = array.astype(np.float64)
    if not np.isfinite(wide).all():
        raise NonFiniteError(f"{name!r} holds values that are NaN or infinite; nothing can be drawn at their scale")
    if np.ptp(wide) == 0:
        return None
    mean, spread = float(wide.mean()), float(wide.std())
    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if wide.min() >= 0:
        drawn = random.gamma((mean / spread) ** 2, spread**2 / mean, size=array.shape)
    else:
        drawn = random.normal(mean, spread, size=array.shape)
    with np.errstate(over="ignore"):  # told of below
        found: Array = drawn.astype(array.dtype)
    if not np.isfinite(found).all():
        raise NonFiniteError(f"{name!r} is {array.dtype}, which cannot hold values drawn at the scale of its own")
    return found
