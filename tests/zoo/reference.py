"""Models as their own framework runs them: float64, without derivatives, with hooks. Nothing of the library is used."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from zoo.entry import Architecture


class Runner(Protocol):
    """A float64 copy of a model in its framework."""

    model: Any

    def run(self, images: np.ndarray) -> Any:
        """What the model returns, its tensors as arrays."""
        ...

    def hooked(self, layer: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Any:
        """Within the context the layer's output goes through `change` in every call; None leaves it as it is."""
        ...

    def parameter(self, name: str) -> np.ndarray | None:
        """A parameter by dotted name; a linear layer's weight is (out, in). None where there is none."""
        ...


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked about one model: which scores, for which images.

    Parameters
    ----------
    architecture : Architecture
        From the catalogue.
    model : object
        Its model, float32.
    images : ndarray of shape (N, C, *space), float64
        With values that float32 holds.
    """

    architecture: Architecture
    model: Any
    images: np.ndarray
    _calls: dict[str, int] = field(default_factory=dict, init=False)

    @cached_property
    def runner(self) -> Runner:
        """The model in float64."""
        module = importlib.import_module(f"zoo.{self.architecture.framework}_runner")
        runner: Runner = module.runner(self.model)
        return runner

    @cached_property
    def logits(self) -> np.ndarray:
        """What the model answers, (N, classes) or (N, classes, *space)."""
        logits: np.ndarray = self.logits_in(self.runner.run(self.images))
        return logits

    @cached_property
    def classes(self) -> tuple[int, ...]:
        """The two outputs that answer most, the second first: methods that keep positive evidence have some."""
        largest = self.logits.reshape(*self.logits.shape[:2], -1).max(axis=(0, 2))
        first, second = np.argsort(-largest, kind="stable")[:2]
        return int(second), int(first)

    @cached_property
    def mask(self) -> np.ndarray:
        """Where a dense output is explained: a box off the centre."""
        mask = np.zeros(self.logits.shape[2:])
        mask[tuple(slice(size // 4, size // 2 + 1) for size in mask.shape)] = 1
        return mask

    @cached_property
    def scores(self) -> np.ndarray:
        """What is explained, (N, K)."""
        return self._scores(self.logits)

    def scores_of(self, images: np.ndarray) -> np.ndarray:
        """The same scores for other images."""
        return self._scores(self.logits_in(self.runner.run(images)))

    def scores_with(self, layer: str, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The scores where the last call of a layer hands on something else."""
        last = self.calls(layer)
        with self._at_call(layer, last, change):
            return self.scores_of(self.images)

    def output_of(self, layer: str, images: np.ndarray | None = None) -> np.ndarray:
        """What the last call of a layer hands on."""
        found: list[np.ndarray] = []

        def keep(output: np.ndarray) -> None:
            found[:] = [np.array(output)]

        with self.runner.hooked(layer, keep):
            self.runner.run(self.images if images is None else images)
        return found[0]

    def calls(self, layer: str) -> int:
        """How often a layer runs."""
        if layer in self._calls:
            return self._calls[layer]
        count = [0]

        def advance(_: np.ndarray) -> None:
            count[0] += 1

        with self.runner.hooked(layer, advance):
            self.runner.run(self.images[:1])
        self._calls[layer] = count[0]
        return count[0]

    @contextmanager
    def _at_call(self, layer: str, call: int, change: Callable[[np.ndarray], np.ndarray]) -> Iterator[None]:
        seen = [0]

        def at_call(output: np.ndarray) -> np.ndarray | None:
            seen[0] += 1
            return change(output) if seen[0] == call else None

        with self.runner.hooked(layer, at_call):
            yield

    def logits_in(self, output: Any) -> Any:
        """The logits in what the model returns."""
        if self.architecture.output is not None:
            output = output[self.architecture.output]
        return getattr(output, "logits", output)

    def _scores(self, logits: np.ndarray) -> np.ndarray:
        if not self.architecture.is_dense:
            return logits[:, list(self.classes)]
        explained = logits[:, list(self.classes[:1])]
        scores: np.ndarray = (explained * self.mask).reshape(*explained.shape[:2], -1).sum(axis=2)
        return scores
