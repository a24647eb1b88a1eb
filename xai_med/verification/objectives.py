"""The explained scores as functions of a displacement, each value by a forward pass of its own."""

from dataclasses import replace

from xai_med.backend.rule import Composite
from xai_med.backend.start import AtInput, AtLayer, AtPool, AtResult, Displaced, Nowhere
from xai_med.backend.tensors import Array
from xai_med.request import Request
from xai_med.verification.differences import Objective
from xai_med.verification.double import ImpossibleError, where_possible


def score_at_input(request: Request) -> Objective:
    """The scores (N, K) of displaced images."""

    def score(displacement: Array) -> Array:
        batch = request.batch + request.network.tensors.from_numpy(displacement, request.batch)
        with where_possible(), request.network.trace(batch, start=Nowhere()) as trace:
            return replace(request, batch=batch).explained(trace).selection.scores

    return score


def score_from(
    request: Request, start: AtInput | AtLayer | AtPool | AtResult, rules: Composite | None = None
) -> Objective:
    """The scores (N, K) where the model goes on from another value at `start`."""

    def score(displacement: Array) -> Array:
        by = request.network.tensors.from_numpy(displacement, request.batch)
        with where_possible(), request.network.trace(request.batch, start=Displaced(start, by), rules=rules) as trace:
            if trace.captured is None:
                raise ImpossibleError("this model, or this backend, cannot be made to go on from another value there")
            return request.explained(trace).selection.scores

    return score
