"""`zoo.reference.Runner` for PyTorch."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch


class TorchRunner:
    """A float64 copy of a PyTorch model."""

    def __init__(self, model: Any) -> None:
        self.model = copy.deepcopy(model).double().eval()

    def run(self, images: np.ndarray) -> Any:
        """What the model returns."""
        with torch.no_grad():
            return _arrays(self.model(torch.from_numpy(np.array(images))))

    @contextmanager
    def hooked(self, layer: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Iterator[None]:
        """Let a layer's output go through `change`."""

        def hook(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor | None:
            changed = change(output.numpy())
            return None if changed is None else torch.from_numpy(np.ascontiguousarray(changed))

        handle = self.model.get_submodule(layer).register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    def parameter(self, name: str) -> np.ndarray | None:
        """A parameter by dotted name."""
        found = dict(self.model.named_parameters()).get(name)
        return None if found is None else found.detach().numpy()


def runner(model: Any) -> TorchRunner:
    """A float64 copy of a model."""
    return TorchRunner(model)


def _arrays(output: Any) -> Any:
    if isinstance(output, torch.Tensor):
        return output.numpy()
    if isinstance(output, tuple | list):
        return [_arrays(part) for part in output]
    return SimpleNamespace(logits=output.logits.numpy())
