"""Each class's own score map as what is pulled back to the image: the beginning of CLEAR."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xai_med.backend.heads.head import Head, class_weights, find_head
from xai_med.backend.network import Trace
from xai_med.backend.tensors import Array, Tensor, shape_of
from xai_med.checks import Check
from xai_med.errors import NotApplicableError
from xai_med.maps.activation import class_activation_map
from xai_med.request import Explained


@dataclass(frozen=True, eq=False)
class Seeds:
    """Where the pullback begins, with each class's own score map (or score) as its cotangent.

    Parameters
    ----------
    outputs : tensor
        What is pulled back from.
    cotangents : iterator of tensor
        One per explained class.
    place : str
        Name of the layer, or ``"logits"``.
    checks : tuple of Check
        What is to be said about them.
    """

    outputs: Tensor
    cotangents: Iterator[Tensor]
    place: str
    checks: tuple[Check, ...] = ()


def class_seeds(trace: Trace, explained: Explained, coefficients: Array, psi: str) -> Seeds:
    """Class maps as cotangents where the head has them, else the logits.

    Parameters
    ----------
    trace, explained
        Of the model.
    coefficients : ndarray of shape (N, K, C)
        Of the explained scores.
    psi : str
        ``"relu"`` for positive evidence only, ``"id"`` for all.
    """
    tensors = trace.tensors
    try:
        head = find_head(trace, explained.logits.node)
    except NotApplicableError as error:  # no class maps: the logit takes their place (docs/methods.md)
        scores = explained.selection.scores
        strength = np.maximum(scores, 0) if psi == "relu" else scores
        logits = explained.selection.outputs
        cotangents = (
            tensors.from_numpy(cotangent * strength[:, k, None], logits)
            for k, cotangent in enumerate(explained.selection.cotangents)
        )
        why = str(error).split(": ")[1].split(";")[0]
        name = "responses pulled back from logits, for want of class maps"
        check = Check(name, 1.0, note=why, key="without_class_maps")
        return Seeds(logits, cotangents, "logits", (check,))
    return Seeds(head.entering, _class_maps(head, coefficients, trace, psi), trace.layer_name(head.node))


def _class_maps(head: Head, coefficients: Array, trace: Trace, psi: str) -> Iterator[Tensor]:
    tensors = trace.tensors
    features = tensors.stop_gradient(head.features)
    weights = tensors.stop_gradient(class_weights(head, coefficients, trace))
    class_maps = class_activation_map(features, weights, tensors=tensors)
    if psi == "relu":
        class_maps = tensors.relu(class_maps)
    back = [head.order.index(axis) for axis in range(len(head.order))]
    for k in range(shape_of(class_maps)[1]):
        chosen_map, chosen_weights = (tensors.sum(tensors.take(t, [k], 1), (1,)) for t in (class_maps, weights))
        cotangent = tensors.einsum("nc,n...->nc...", chosen_weights, chosen_map)
        yield tensors.transpose(cotangent, back)
