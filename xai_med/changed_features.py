"""Scores of a model that goes on from changed features of a layer: what methods ask that need no gradient."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from xai_med.backend.start import AtLayer, AtPool, Displaced
from xai_med.backend.tensors import Array, Tensor, shape_of
from xai_med.checks import Check
from xai_med.errors import NotApplicableError, SettingError
from xai_med.layer_maps import captured_node, layer_name, without_evidence
from xai_med.request import Attribution, Explained, Request
from xai_med.same_scores import SameScores, of_same_scores


@dataclass(frozen=True, eq=False)
class Features:
    """A layer's features, and the model behind them.

    Parameters
    ----------
    values : ndarray of shape (N, C, *layer space)
        As the model made them.
    explained : Explained
        The scores.
    layer : str
        Name.
    request : Request
        For the same scores.
    start : AtLayer or AtPool
        Where the model goes on.
    """

    values: Array
    explained: Explained
    layer: str
    request: Request
    start: AtLayer | AtPool

    def scores(self, changed: Iterable[Array], *, batch_size: int) -> Iterator[Array]:
        """Scores (N, K) where the model goes on from each changed copy (N, C, *layer space), in order.

        Raises
        ------
        NotApplicableError
            The model cannot be made to go on from other values there.
        """
        pending = iter(changed)
        together = max(1, batch_size // len(self.values)) if self._is_repeatable() else 1
        while several := list(islice(pending, together)):
            try:
                scores = self._asked(np.stack(several))
            except Exception:
                if len(self.values) > 1 or together == 1:
                    raise
                together, scores = 1, np.concatenate([self._asked(one[None]) for one in several])
            yield from scores

    def _is_repeatable(self) -> bool:
        """Whether several copies can go through the model as one batch; windows of tokens are counted by images."""
        return isinstance(self.request.target, SameScores) and self.start.lattice is None

    def _asked(self, changed: Array) -> Array:
        request, times = self.request, len(changed)
        target = request.target.repeated(times) if isinstance(request.target, SameScores) else request.target
        tensors = request.network.tensors
        batch = tensors.concatenate([request.batch] * times, 0) if times > 1 else request.batch
        by = tensors.from_numpy((changed - self.values).reshape(-1, *self.values.shape[1:]), request.batch)
        with request.network.trace(batch, start=Displaced(self.start, by)) as trace:
            if trace.captured is None:
                raise NotApplicableError(
                    "this model, or this backend, cannot go on from changed features there; use method='grad_cam'"
                )
            scores = replace(request, batch=batch, target=target).explained(trace).selection.scores
        return scores.reshape(times, -1, scores.shape[1])

    def attribution(self, maps: Array, *, relu: bool) -> Attribution:
        """Maps (N, K, *layer space) of these features as a result; placed in the image where cells are uneven."""
        tensors, lattice = self.request.network.tensors, self.start.lattice
        checks: tuple[Check, ...] = ()
        if relu:
            maps = np.maximum(maps, 0)
            checks = (without_evidence(maps),)
        values: Tensor = tensors.from_numpy(maps, self.request.batch)
        is_even = lattice is None or lattice.is_even
        placed = values if is_even else lattice.placed(values, self.request.space, tensors)  # type: ignore[union-attr]
        return Attribution(values, placed, self.explained, layer=self.layer, checks=checks)


def features_of(request: Request, method: str, *, batch_size: int | None = None) -> Features:
    """The features that a layer method works on, without any gradient.

    Parameters
    ----------
    request : Request
        `layer` as in `xai_med.layer_maps.map_at_layer`.
    method : str
        Name, for messages.
    batch_size : int or None
        To be checked.

    Raises
    ------
    LayerError
        No layer with space axes was found or named.
    NotApplicableError
        The graph of derivatives was to be kept.
    SettingError
        `batch_size` is below 1.
    """
    if batch_size is not None and (isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1):
        raise SettingError(f"batch_size is a number of images, at least 1, got {batch_size!r}")
    if request.differentiable:
        raise NotApplicableError(f"{method} has no gradient that could be kept; use method='grad_cam'")
    with request.features(uneven=True) as trace:
        explained = request.explained(trace)
        node = captured_node(request, explained, trace)
        values, lattice = trace.tensors.to_numpy(trace.captured), trace.lattice
        name = layer_name(request, node, trace)
    start: AtLayer | AtPool = AtPool(node.index, lattice)
    if request.layer is not None:
        start = AtLayer(*request.network.find_layer(request.layer), lattice)
    if len(shape_of(values)) < 3:
        raise NotApplicableError(f"{method} needs a layer with space axes, {name!r} gives {values.shape}")
    return Features(values, explained, name, of_same_scores(request, explained), start)
