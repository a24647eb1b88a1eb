"""What every result says about itself, whatever the method."""

import numpy as np

from xai_med.backend.framework import Inventory
from xai_med.backend.tensors import Array
from xai_med.checks import Check
from xai_med.maps.finite import count_non_finite
from xai_med.request import Attribution, Explained

SATURATED = 1e-6
"""A probability counts as saturated where its derivative by its own logit, p (1 - p), is smaller."""


def common_checks(
    maps: Array, images: Array, attribution: Attribution, inventory: Inventory | None
) -> tuple[Check, ...]:
    """Finite, saturated, zero and constant; what was done to the model, and what it shields from derivatives.

    Parameters
    ----------
    maps : ndarray of shape (N, K, *space)
        Resized.
    images : ndarray of shape (N, C, *space)
        That were explained.
    attribution : Attribution
        Of the method.
    inventory : Inventory or None
        Of the model; None where only its answers are known.
    """
    explained = attribution.explained
    checks = [
        _finite("input values", "finite_input", images),
        _weights(inventory),
        _finite("logits", "finite_logits", explained.all_logits),
        _finite("map values", "finite_maps", maps),
        *_flat(maps),
    ]
    if explained.activation is not None:
        checks.append(_saturation(explained, explained.activation))
    if explained.was_training:
        note = "it was explained in evaluation mode"
        checks.append(Check("model found in training mode", 1.0, note=note, key="training_mode"))
    cuts = explained.cuts
    if cuts:
        note = f"what goes through {', '.join(cuts[:3])} is not part of the map: the model detaches it"
        checks.append(
            Check("operations shielded from derivatives", float(len(cuts)), note=note, key="shielded_operations")
        )
    return tuple(checks)


def _weights(inventory: Inventory | None) -> Check:
    """What was seen of the model."""
    if inventory is None:
        note = "weights and operations are out of sight; explained is what it returns, logits or probabilities"
        return Check("model that can only be asked", 1.0, note=note, key="only_asked")
    return Check(
        "NaN or infinite weights",
        0.0,  # the model would have been refused
        0.0,
        note=f"{inventory.tensors:,} parameters and buffers, {', '.join(inventory.dtypes) or 'none'}",
        is_count=True,
        key="finite_weights",
        out_of=inventory.values,
    )


def _finite(what: str, key: str, values: Array) -> Check:
    bad = float(count_non_finite(values))
    return Check(f"NaN or infinite {what}", bad, 0.0, is_count=True, key=key, out_of=values.size)


def _flat(maps: Array) -> tuple[Check, Check]:
    flat = maps.reshape(*maps.shape[:2], -1)
    high, low = flat.max(axis=2), flat.min(axis=2)
    constant = high == low
    zero = constant & (high == 0)
    count = zero.size
    return (
        Check("maps that are zero everywhere", float(zero.sum()), is_count=True, key="zero_maps", out_of=count),
        Check(
            "maps that are constant but not zero",
            float((constant & ~zero).sum()),
            is_count=True,
            key="constant_maps",
            out_of=count,
        ),
    )


def _saturation(explained: Explained, activation: str) -> Check:
    """How many probabilities of what is explained hardly change with their logit; the smallest distance to 0 or 1."""
    chosen = _explained_classes(explained)
    logits = explained.all_logits.astype(np.float64)
    # log p and log (1 - p), because 1 - p itself is lost where p is near 1
    if activation == "sigmoid":
        log_p, log_rest = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    else:
        log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        log_rest = _log_of_the_rest(log_p)
    smaller = np.minimum(log_p, log_rest)[chosen]
    derivative = np.exp((log_p + log_rest)[chosen])
    note = f"the nearest lies {np.exp(smaller.min()):.2g} from 0 or 1; "
    note += (
        "explained is the logit, which does not saturate"
        if explained.selection.coefficients is not None
        else ("a score made of saturated probabilities hardly changes with the image: explain the logit")
    )
    return Check(
        f"saturated probabilities ({activation} with a derivative below {SATURATED:g})",
        float((derivative < SATURATED).sum()),
        note=note,
        is_count=True,
        key="saturated_probabilities",
        out_of=smaller.size,
    )


def _explained_classes(explained: Explained) -> Array:
    """Which of all logits the scores are made of, as far as known, bool of shape (N, C, ...)."""
    coefficients = explained.selection.coefficients
    if coefficients is None:
        return np.ones(explained.all_logits.shape, dtype=bool)
    return np.asarray((coefficients != 0).any(axis=1))


def _log_of_the_rest(log_p: Array) -> Array:
    """Log (1 - p) along axis 1; for the largest p as the log of the sum of the others, which loses no digits."""
    place = log_p.argmax(axis=1, keepdims=True)
    others = log_p.copy()
    np.put_along_axis(others, place, -np.inf, axis=1)
    rest = np.log1p(-np.exp(np.minimum(others, np.log(0.5))))
    np.put_along_axis(rest, place, np.logaddexp.reduce(others, axis=1, keepdims=True), axis=1)
    return np.asarray(rest)
