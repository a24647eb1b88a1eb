"""`zoo.reference.Runner` for PaddlePaddle."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle


class PaddleRunner:
    """A float64 copy of a PaddlePaddle model."""

    def __init__(self, model: Any) -> None:
        self.model = copy.deepcopy(model).to(dtype="float64")
        self.model.eval()
        self._layers = dict(self.model.named_sublayers())

    def run(self, images: np.ndarray) -> Any:
        """What the model returns."""
        with paddle.no_grad():
            return self.model(paddle.to_tensor(images)).numpy()

    @contextmanager
    def hooked(self, layer: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Iterator[None]:
        """Let a layer's output go through `change`."""

        def hook(_: Any, __: Any, output: Any) -> Any:
            changed = change(output.numpy())
            return None if changed is None else paddle.to_tensor(np.ascontiguousarray(changed))

        handle = self._layers[layer].register_forward_post_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    def parameter(self, name: str) -> np.ndarray | None:
        """A parameter by dotted name; Paddle keeps linear weights as (in, out)."""
        layer, _, kind = name.rpartition(".")
        found = getattr(self._layers[layer], kind, None)
        if found is None:
            return None
        values: np.ndarray = found.numpy()
        is_linear = isinstance(self._layers[layer], paddle.nn.Linear)
        return values.T if is_linear and kind == "weight" else values


def runner(model: Any) -> PaddleRunner:
    """A float64 copy of a model."""
    return PaddleRunner(model)
