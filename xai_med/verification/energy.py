"""The energies of class maps, whose derivatives by the image CLEAR pulls back."""

from dataclasses import replace

import numpy as np

from xai_med.backend.heads.head import class_weights, find_head
from xai_med.backend.network import Trace
from xai_med.backend.start import Nowhere
from xai_med.backend.tensors import Array
from xai_med.errors import NotApplicableError
from xai_med.maps.activation import class_activation_map
from xai_med.request import Request
from xai_med.verification.differences import Objective
from xai_med.verification.double import where_possible


def energy_at_input(request: Request, psi: str) -> Objective:
    """Half the squared norm of each class's own map, rectified where `psi` is ``"relu"``, (N, K).

    Networks without class maps have the score in their place.
    """

    def energy(displacement: Array) -> Array:
        batch = request.batch + request.network.tensors.from_numpy(displacement, request.batch)
        with where_possible(), request.network.trace(batch, start=Nowhere()) as trace:
            values = _class_maps(replace(request, batch=batch), trace)
        if psi == "relu":
            values = np.maximum(values, 0)
        return np.asarray((values**2).sum(axis=2) / 2)

    return energy


def _class_maps(request: Request, trace: Trace) -> Array:
    """Class maps with flat space, (N, K, cells)."""
    explained = request.explained(trace)
    scores = explained.selection.scores
    try:
        head = find_head(trace, explained.logits.node)
    except NotApplicableError:
        return scores[:, :, None]
    weights = class_weights(head, explained.coefficients("clear"), trace)
    maps = class_activation_map(head.features, weights, tensors=trace.tensors)
    return trace.tensors.to_numpy(maps).reshape(*scores.shape, -1)
